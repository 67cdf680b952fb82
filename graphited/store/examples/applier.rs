//! How fast is the applier alone? Each write set changes five pages a little, as adding one edge does.
//!
//! `cargo run --release -p graphite-store --example applier [sets-per-group]`
#![allow(clippy::unwrap_used, reason = "a measurement may panic")]

use std::sync::Arc;
use std::time::Instant;

use graphite_store::clock::RealClock;
use graphite_store::disk::SimDisk;
use graphite_store::{PageKind, PageNo, PageWriter, Store, StoreOptions};

fn main() {
    let per_group: u64 = std::env::args().nth(1).map_or(1, |n| n.parse().unwrap());
    let options = StoreOptions { create: true, ..StoreOptions::default() };
    let store =
        Store::open(Arc::new(SimDisk::new()), Arc::new(RealClock::default()), "/db".as_ref(), options)
            .unwrap();
    let mut turn = store.turn().unwrap();
    let pages: Vec<PageNo> = (0..1000).map(|_| turn.allocate(PageKind::Record).unwrap()).collect();
    turn.commit().unwrap();
    store.checkpoint().unwrap();
    let sets: u64 = std::env::args().nth(2).map_or(200_000, |n| n.parse().unwrap());
    let begun = Instant::now();
    let mut seed = 1u64;
    for group in 0..sets / per_group {
        let mut turn = store.turn().unwrap();
        for _ in 0..per_group {
            for _ in 0..5 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let page = pages[(seed >> 33) as usize % pages.len()];
                let at = (seed >> 20) as usize % 8000;
                turn.page_mut(page).unwrap().body_mut()[at..at + 12]
                    .copy_from_slice(&[(seed >> 40) as u8; 12]);
            }
        }
        turn.commit().unwrap();
        if group % 64 == 0 {
            store.flush().unwrap();
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{:.0} write sets/s, {} a group; {:?}", sets as f64 / seconds, per_group, store.status());
}
