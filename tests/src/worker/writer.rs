//! A writer whose daemon will be killed.

use std::path::Path;

use graphite_client::Result;

use crate::Common;

pub(crate) fn run(common: &Common, dir: &Path) -> Result<()> {
    graphite_tests::writers::write(&common.socket, dir, common.number)
}
