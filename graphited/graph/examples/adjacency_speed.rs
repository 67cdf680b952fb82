//! Prints what reading and changing adjacency costs, over pages in memory:
//! `cargo run --release -p graphite-graph --example adjacency_speed`.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

use graphite_graph::adjacency::{Entry, Key, Owner, Side, apply, count, find, for_each_group};
use graphite_graph::location::Location;
use graphite_graph::space::SpaceMap;
use graphite_graph::{EdgeSlot, NodeSlot, Result, TypeId};
use graphite_store::{DatabaseId, Error, Page, PageKind, PageNo, PageReader, PageWriter, STATE_PAGE};

/// Pages in a vector: close to what a cache's array of pages costs.
struct Pages(Vec<Page>);

impl Pages {
    fn new() -> Pages {
        Pages(vec![Page::new(STATE_PAGE, PageKind::State, DatabaseId(1))])
    }
}

impl PageReader for Pages {
    type Ref<'a> = &'a Page;
    #[inline]
    fn page(&self, number: PageNo) -> graphite_store::Result<&Page> {
        self.0.get(number.0 as usize).ok_or(Error::body(number, "it is not there"))
    }
}

impl PageWriter for Pages {
    fn page_mut(&mut self, number: PageNo) -> graphite_store::Result<&mut Page> {
        self.0.get_mut(number.0 as usize).ok_or(Error::body(number, "it is not there"))
    }
    fn allocate(&mut self, kind: PageKind) -> graphite_store::Result<PageNo> {
        let number = PageNo(self.0.len() as u32);
        self.0.push(Page::new(number, kind, DatabaseId(1)));
        Ok(number)
    }
    fn free(&mut self, _number: PageNo) -> graphite_store::Result<()> {
        Ok(())
    }
}

fn mix(number: u64) -> u64 {
    let number = (number ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (number ^ (number >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (number >> 31)
}

fn key(neighbour: u64, edge: u64) -> Key {
    (TypeId(1), Entry { neighbour: NodeSlot(neighbour), edge: EdgeSlot(edge) })
}

fn owner(slot: u64) -> Owner {
    Owner { slot: NodeSlot(slot), side: Side::Out }
}

/// Does the work in rounds and prints the time that each of a round's `of` units took: the best round and the
/// median, which others on the machine disturb less than the mean.
fn report(what: &str, rounds: u64, of: u64, mut work: impl FnMut(u64) -> Result<()>) -> Result<()> {
    let mut times: Vec<u128> = Vec::new();
    for round in 0..rounds {
        let start = Instant::now();
        work(round)?;
        times.push(start.elapsed().as_nanos());
    }
    times.sort_unstable();
    let each = |nanos: u128| nanos as f64 / of as f64;
    println!("  {what:<52} best {:9.2} ns, median {:9.2} ns", each(times[0]), each(times[times.len() / 2]));
    Ok(())
}

/// `nodes` blocks of `degree` entries each: made at once, scanned, looked into, then grown by one edge each.
fn small(nodes: u64, degree: u64) -> Result<()> {
    const ROUNDS: u64 = 20;
    let (mut w, mut space) = (Pages::new(), SpaceMap::adjacency());
    let mut places: Vec<Location> = Vec::new();
    println!("\n{nodes} nodes with {degree} edges each");
    let keys: Vec<Vec<Key>> = (0..nodes)
        .map(|node| (0..degree).map(|n| key(n * 1000 + mix(node * degree + n) % 1000, n)).collect())
        .collect();
    let share = nodes / ROUNDS;
    report("make a block, per block", ROUNDS, share, |round| {
        for node in round * share..(round + 1) * share {
            places.extend(apply(&mut w, &mut space, owner(node), None, &[], &keys[node as usize])?);
        }
        Ok(())
    })?;
    println!("  {} pages", w.0.len());

    for types in [None, Some([TypeId(1)].as_slice())] {
        let mut sum = 0_u64;
        report(&format!("scan, types {types:?}, per entry"), ROUNDS, nodes * degree, |_| {
            for (node, place) in (0..).zip(&places) {
                for_each_group(&w, owner(node), *place, types, |_, entries| {
                    for neighbour in entries.neighbours() {
                        sum = sum.wrapping_add(neighbour.0);
                    }
                    ControlFlow::<()>::Continue(())
                })?
                .is_break();
            }
            black_box(sum);
            Ok(())
        })?;
    }
    report("find one neighbour, random node", ROUNDS, share, |round| {
        for n in round * share..(round + 1) * share {
            let node = mix(n) % nodes;
            let wanted = NodeSlot(mix(node * degree) % 1000);
            let seen = find(&w, owner(node), places[node as usize], None, wanted, |_, edge| {
                ControlFlow::Break(edge)
            })?;
            black_box(seen.is_break());
        }
        Ok(())
    })?;
    // Each node gets one edge a turn. The first moves its block to where it has slack; the next ones do not.
    for turn in 1..=4 {
        report(&format!("add one edge, scattered nodes, turn {turn}"), ROUNDS, share, |round| {
            for n in round * share..(round + 1) * share {
                let node = n * 7919 % nodes;
                let place = &mut places[node as usize];
                let added = [key(mix(n) % (degree * 1000), n + turn * nodes)];
                let new = apply(&mut w, &mut space, owner(node), Some(*place), &[], &added);
                *place = new?.unwrap_or(*place);
            }
            Ok(())
        })?;
    }
    println!("  {} pages", w.0.len());
    Ok(())
}

fn hub(edges: u64) -> Result<()> {
    let (mut w, mut space) = (Pages::new(), SpaceMap::adjacency());
    let mut place = None;
    println!("\none node, {edges} edges in random order");
    let batch = edges / 1000;
    report("first half, in 500 batches, per edge", 500, batch, |round| {
        let mut added: Vec<Key> =
            (round * batch..(round + 1) * batch).map(|n| key(mix(n) >> 40, n)).collect();
        added.sort_unstable();
        place = apply(&mut w, &mut space, owner(1), place, &[], &added)?;
        Ok(())
    })?;
    report("second half, one by one, per edge", 500, batch, |round| {
        for n in (500 + round) * batch..(501 + round) * batch {
            place = apply(&mut w, &mut space, owner(1), place, &[], &[key(mix(n) >> 40, n)])?;
        }
        Ok(())
    })?;
    let Some(place) = place else { return Ok(()) };
    let mut sum = 0_u64;
    report("scan, per entry", 10, edges, |_| {
        for_each_group(&w, owner(1), place, None, |_, entries| {
            entries.neighbours().for_each(|neighbour| sum = sum.wrapping_add(neighbour.0));
            ControlFlow::<()>::Continue(())
        })?
        .is_break();
        black_box(sum);
        Ok(())
    })?;
    report("count of a type", 10, 100, |_| {
        for _ in 0..100 {
            black_box(count(&w, owner(1), place, Some(&[TypeId(1)]))?);
        }
        Ok(())
    })
}

fn main() -> Result<()> {
    small(20_000, 4)?;
    small(20_000, 14)?;
    small(2_000, 100)?;
    hub(1_000_000)
}
