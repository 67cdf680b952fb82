//! The way of a plan from the socket's bytes to what runs it, for fuzz targets.

use std::sync::Arc;

use graphite_protocol::WireError;
use graphite_protocol::message::Body;
use graphite_query as query;

use crate::plans::PlanCache;

/// Decodes the params of `run` twice, as a session does that runs one plan again: from its bytes, and by them.
///
/// # Errors
/// As the daemon answers.
///
/// # Panics
/// If the second time gives another plan.
pub fn decode_run(body: &[u8]) -> Result<(Arc<query::Prepared>, Arc<query::Params>), WireError> {
    let mut cache = PlanCache::new(2);
    let mut decode = || {
        let mut run = cache.decode_run(Body::of(body).decoder())?;
        run.is_no_lookup();
        Ok::<_, WireError>((run.prepared.plan.clone(), run.params))
    };
    let (first, again) = (decode(), decode());
    match (&first, again) {
        // By their words, for NaN is no NaN.
        (Ok((plan, _)), Ok((same, _))) => {
            assert_eq!(
                format!("{:?}", plan.plan()),
                format!("{:?}", same.plan()),
                "a plan is known by its bytes"
            );
        }
        (Err(_), Err(_)) => {}
        (first, again) => panic!("a run is decoded once and not twice: {first:?}, {again:?}"),
    }
    first
}
