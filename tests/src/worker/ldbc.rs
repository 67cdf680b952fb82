//! One process of an anomaly test of the LDBC ACID suite. It says `note` and what the writer noted, or `anomaly` and
//! what a reader saw.

use std::sync::atomic::Ordering;

use graphite_client::{Client, Result};
use graphite_tests::ldbc::{Process, test};
use graphite_tests::{Random, workers};

use crate::Common;

fn process(common: &Common) -> Result<Process> {
    Process::new(Client::connect(&common.socket)?, Random::new(common.seed), i64::from(common.number))
}

pub(crate) fn write(common: &Common, name: &str, count: u64) -> Result<()> {
    let (test, mut process) = (test(name), process(common)?);
    for _ in 0..count {
        (test.write)(&mut process)?;
    }
    for note in process.notes {
        println!("note {note}");
    }
    Ok(())
}

pub(crate) fn read(common: &Common, name: &str) -> Result<()> {
    let (test, mut process) = (test(name), process(common)?);
    let Some(read) = test.read else { return Ok(()) };
    let enough = workers::enough();
    let mut reads = 0_u64;
    while reads == 0 || !enough.load(Ordering::Relaxed) {
        if let Some(anomaly) = read(&mut process)? {
            println!("anomaly {anomaly}");
        }
        reads += 1;
    }
    println!("reads {reads}");
    Ok(())
}
