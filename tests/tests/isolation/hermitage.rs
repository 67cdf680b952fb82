//! The list of *Hermitage* (Kleppmann): orders of steps that show which anomalies a database lets happen. Keys 1 and 2
//! hold 10 and 20 at the beginning. Who has to wait, and who is rolled back, is the daemon's business; what was
//! answered and what is left has to be what some serial order gives.

use crate::interleave::{is_prevented, is_prevented_from};
use crate::serial::Rows;
use crate::serial::Step::{Commit, DeleteWhere, Get, Insert, Rollback, Scan, Set};

/// Sessions.
const T1: usize = 0;
const T2: usize = 1;
const T3: usize = 2;

#[test]
fn g0_dirty_writes() {
    let order =
        [(T1, Set(1, 11)), (T2, Set(1, 12)), (T1, Set(2, 21)), (T1, Commit), (T2, Set(2, 22)), (T2, Commit)];
    is_prevented("G0", 2, &order);
}

#[test]
fn g1a_aborted_reads() {
    let order = [(T1, Set(1, 101)), (T2, Scan(0, 999)), (T1, Rollback), (T2, Scan(0, 999)), (T2, Commit)];
    is_prevented("G1a", 2, &order);
    let by_key = [(T1, Set(1, 101)), (T2, Get(1)), (T1, Rollback), (T2, Get(1)), (T2, Commit)];
    is_prevented("G1a by key", 2, &by_key);
}

#[test]
fn g1b_intermediate_reads() {
    let order = [
        (T1, Set(1, 101)),
        (T2, Scan(0, 999)),
        (T1, Set(1, 11)),
        (T1, Commit),
        (T2, Scan(0, 999)),
        (T2, Commit),
    ];
    is_prevented("G1b", 2, &order);
}

#[test]
fn g1c_circular_information_flow() {
    let order = [(T1, Set(1, 11)), (T2, Set(2, 22)), (T1, Get(2)), (T2, Get(1)), (T1, Commit), (T2, Commit)];
    is_prevented("G1c", 2, &order);
}

#[test]
fn otv_an_observed_transaction_vanishes() {
    let order = [
        (T1, Set(1, 11)),
        (T1, Set(2, 19)),
        (T2, Set(1, 12)),
        (T1, Commit),
        (T3, Get(1)),
        (T2, Set(2, 18)),
        (T3, Get(2)),
        (T2, Commit),
        (T3, Get(2)),
        (T3, Get(1)),
        (T3, Commit),
    ];
    is_prevented("OTV", 3, &order);
}

#[test]
fn pmp_predicates_with_many_preceders() {
    let order = [(T1, Scan(30, 31)), (T2, Insert(3, 30)), (T2, Commit), (T1, Scan(0, 999)), (T1, Commit)];
    is_prevented("PMP", 2, &order);
    // The predicate of a change.
    let order = [
        (T1, Scan(0, 999)),
        (T1, Set(1, 20)),
        (T1, Set(2, 30)),
        (T2, DeleteWhere(20)),
        (T1, Commit),
        (T2, Scan(0, 999)),
        (T2, Commit),
    ];
    is_prevented("PMP of a change", 2, &order);
}

#[test]
fn p4_lost_updates() {
    let order = [(T1, Get(1)), (T2, Get(1)), (T1, Set(1, 11)), (T2, Set(1, 12)), (T1, Commit), (T2, Commit)];
    is_prevented("P4", 2, &order);
    let by_scan = [
        (T1, Scan(0, 999)),
        (T2, Scan(0, 999)),
        (T1, Set(1, 11)),
        (T2, Set(1, 12)),
        (T1, Commit),
        (T2, Commit),
    ];
    is_prevented("P4 by scan", 2, &by_scan);
}

#[test]
fn g_single_read_skew() {
    let order = [
        (T1, Get(1)),
        (T2, Get(1)),
        (T2, Get(2)),
        (T2, Set(1, 12)),
        (T2, Set(2, 18)),
        (T2, Commit),
        (T1, Get(2)),
        (T1, Commit),
    ];
    is_prevented("G-single", 2, &order);
    let by_scan = [
        (T1, Scan(10, 11)),
        (T2, Set(1, 12)),
        (T2, Set(2, 18)),
        (T2, Commit),
        (T1, Scan(12, 20)),
        (T1, Commit),
    ];
    is_prevented("G-single by predicates", 2, &by_scan);
    let with_change = [
        (T1, Get(1)),
        (T2, Scan(0, 999)),
        (T2, Set(1, 12)),
        (T2, Set(2, 18)),
        (T2, Commit),
        (T1, DeleteWhere(20)),
        (T1, Commit),
    ];
    is_prevented("G-single with a change", 2, &with_change);
}

#[test]
fn g2_item_write_skew() {
    let order = [
        (T1, Get(1)),
        (T1, Get(2)),
        (T2, Get(1)),
        (T2, Get(2)),
        (T1, Set(1, 11)),
        (T2, Set(2, 21)),
        (T1, Commit),
        (T2, Commit),
    ];
    is_prevented("G2-item", 2, &order);
}

#[test]
fn g2_anti_dependency_cycles() {
    let order = [
        (T1, Scan(30, 999)),
        (T2, Scan(30, 999)),
        (T1, Insert(3, 30)),
        (T2, Insert(4, 42)),
        (T1, Commit),
        (T2, Commit),
    ];
    is_prevented("G2", 2, &order);
    // Two of them, with a reader in between (Fekete, O'Neil, O'Neil 2004).
    let with_reader = [
        (T1, Scan(0, 999)),
        (T2, Get(2)),
        (T2, Set(2, 25)),
        (T2, Commit),
        (T3, Scan(0, 999)),
        (T3, Commit),
        (T1, Set(1, 0)),
        (T1, Commit),
    ];
    is_prevented("G2 with a reader", 3, &with_reader);
}

/// Without a row there is no label, no type and no key yet that what is looked for could have.
#[test]
fn g2_with_names_that_nobody_has_used() {
    let order = [
        (T1, Scan(0, 999)),
        (T2, Scan(0, 999)),
        (T1, Insert(3, 30)),
        (T2, Insert(4, 42)),
        (T1, Commit),
        (T2, Commit),
    ];
    is_prevented_from(&Rows::new(), "G2 with new names", 2, &order);
    let twice = [(T1, Scan(0, 999)), (T2, Insert(3, 30)), (T2, Commit), (T1, Scan(0, 999)), (T1, Commit)];
    is_prevented_from(&Rows::new(), "PMP with new names", 2, &twice);
}
