//! A checkpoint as a person sees it: it moves, and it ends.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use graphite_client::{Traversal, props};

use crate::stage::{Stage, line_of, until};

/// Nodes whose pages a checkpoint writes.
const NODES: usize = 6000;
/// Bytes of each.
const NODE_BYTES: usize = 4000;

/// Some ten thousand pages are changed and a checkpoint is asked for, again and again, until it was seen twice under way
/// and at different places: a checkpoint of so little takes a tenth of a second, of which a picture shows one moment.
#[test]
fn a_checkpoint_is_seen_to_move_and_to_end() {
    let Some(stage) = Stage::new("checkpoint") else { return };
    let mut client = stage.client("etl");
    let blob = "x".repeat(NODE_BYTES);
    client
        .transaction(|transaction| {
            for _ in 0..NODES {
                transaction.create_node(["Blob"], props! { "blob" => blob.as_str() })?;
            }
            Ok(())
        })
        .unwrap();
    stage.watch("80", "24", "--view storage --interval 0.1");
    stage.shows("checkpoint");
    let is_enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0i64.. {
                if is_enough.load(Ordering::Relaxed) {
                    return;
                }
                let change = Traversal::nodes_with("Blob").set(props! { "round" => round }).count();
                client.run(change, ()).unwrap();
                client.checkpoint().unwrap();
            }
        });
        let _until_the_end = Raised(&is_enough);
        let mut seen = BTreeSet::new();
        until("a checkpoint was seen at two places", || {
            let screen = stage.screen();
            let line = line_of(&screen, " checkpoint ");
            // On a quick disk most pictures fall between two, and the next one may already show it syncing.
            if !line.contains("idle") {
                seen.insert(line.to_owned());
            }
            (seen.len() > 1).then_some(())
        });
    });
    stage.shows("idle; last at");
    let screen = stage.screen();
    assert!(line_of(&screen, "ckpt").contains("ckpt idle"), "{screen}");
}

/// Raises a flag when dropped, also by a panic: else a thread that looks at it would go on for ever.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
