//! The way of a commit: whoever waits, whoever leaves one, and whoever comes for what was left.
//!
//! The disk is the simulated one, and a sync takes as long as whole commits do. There is no log thread, so whoever needs a
//! sync leads it. At the end of each round the power goes, and all that was acknowledged is there.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use graphite_graph_shuttle::{
    Continuation, Direction, EdgeId, Error, GraphDb, KeyId, NodeId, NodeSlot, ReadIntent, Result,
    Transaction, TypeId, Value, View, nodes,
};
use graphite_store::clock::SimClock;
use graphite_store::disk::{Outcome, SimDisk};
use graphite_store::locks::OwnerId;
use graphite_store::{Lsn, StoreOptions};
use shuttle::thread;

use super::hooked::{Doing, HookedDisk};
use super::{Seen, check, run_once};

const KEY: KeyId = KeyId(0);
const KNOWS: TypeId = TypeId(0);

/// Opens, or makes, the database of a simulated disk.
fn open(disk: &SimDisk, sync_steps: usize) -> GraphDb {
    let hooked = HookedDisk::new(disk.clone());
    hooked.ask(move |_, doing| {
        let steps = if doing == Doing::Sync { sync_steps } else { 1 };
        (0..steps).for_each(|_| thread::yield_now());
        Ok(())
    });
    // So large that small write sets fit into one group.
    let options =
        StoreOptions { create: true, cache_bytes: 8 << 20, wal_bytes: 8 << 20, ..StoreOptions::default() };
    GraphDb::open(Arc::new(hooked), Arc::new(SimClock::default()), "/graph".as_ref(), options).unwrap()
}

/// A database with so many nodes, whose property is 0; closed. It is made once, and each round has a copy.
fn image(nodes: usize) -> (SimDisk, Vec<NodeId>) {
    let made = Arc::new(Mutex::new(None));
    let make = made.clone();
    run_once(move || {
        let disk = SimDisk::new();
        let db = open(&disk, 1);
        assert_eq!(db.key_id_or_create("key").unwrap(), KEY);
        assert_eq!(db.type_id_or_create("KNOWS").unwrap(), KNOWS);
        let mut tx = db.begin().unwrap();
        let nodes = (0..nodes).map(|_| tx.create_node(&[], &[(KEY, Value::Int(0))]).unwrap()).collect();
        tx.commit().unwrap();
        db.store().close().unwrap();
        *make.lock().unwrap() = Some((disk, nodes));
    });
    let image = made.lock().unwrap().take();
    image.unwrap()
}

fn get(view: &impl View, node: NodeId) -> Option<i64> {
    match view.property(node, KEY).unwrap() {
        Some(Value::Int(number)) => Some(number),
        None => None,
        other => panic!("{other:?}"),
    }
}

fn put(tx: &mut Transaction, node: NodeId, number: i64) {
    tx.set_node_property(node, KEY, Value::Int(number)).unwrap();
}

/// What is done with a verdict, by whichever thread.
struct Then<F>(F);

impl<F: FnOnce(Result<Lsn>) + Send + 'static> Continuation for Then<F> {
    fn applied(self: Box<Self>, outcome: Result<Lsn>) {
        (self.0)(outcome);
    }
}

/// Leaves a commit, and comes until it is applied.
fn leave(tx: Transaction, then: impl FnOnce(Result<Lsn>) + Send + 'static) {
    let db = tx.db().clone();
    assert!(tx.leave(None, Then(then)).is_none());
    come(&db);
}

fn come(db: &GraphDb) {
    while db.apply_waiting() {
        thread::yield_now();
    }
}

fn linger() {
    (0..40).for_each(|_| thread::yield_now());
}

/// Everybody is told, and nothing is held or waits.
fn nothing_is_left(db: &GraphDb) {
    assert_eq!(db.commit_counts().waiting, 0);
    let picture = db.locks().picture();
    assert!(picture.locks.is_empty() && picture.waits.is_empty(), "{picture:?}");
}

/// The database after a power cut, when all that was written and not synced is gone.
fn after_power_cut(disk: &SimDisk) -> GraphDb {
    open(&disk.power_cut(Outcome::LoseAll), 1)
}

/// Two new nodes and an edge between them.
#[derive(Clone, Copy, Debug)]
struct Pair {
    number: i64,
    start: NodeId,
    end: NodeId,
    edge: EdgeId,
}

impl Pair {
    fn create(tx: &mut Transaction, number: i64) -> Pair {
        let [start, end] = [(); 2].map(|()| tx.create_node(&[], &[(KEY, Value::Int(number))]).unwrap());
        let edge = tx.create_edge(start, KNOWS, end, &[]).unwrap();
        Pair { number, start, end, edge }
    }

    fn assert_in(&self, view: &impl View) {
        for (node, direction) in [(self.start, Direction::Out), (self.end, Direction::In)] {
            assert_eq!(get(view, node), Some(self.number), "{self:?}");
            assert_eq!(view.degree(node, direction, Some(&[KNOWS])).unwrap(), 1, "{self:?}");
        }
        assert!(view.edge_head(self.edge).unwrap().is_some(), "{self:?}");
    }
}

/// What was acknowledged, as often as it was.
#[derive(Clone, Default)]
struct Acknowledged(Arc<Mutex<Vec<Pair>>>);

impl Acknowledged {
    /// It is durable, and so in every snapshot from now on.
    fn note(&self, db: &GraphDb, pair: Pair) {
        pair.assert_in(&db.snapshot().unwrap());
        self.0.lock().unwrap().push(pair);
    }
}

/// Two commit and wait, twice each; one leaves a commit and comes for it; and somebody comes once, for nothing of his own.
/// The first of them to find the applier free leads, for some or for all. Each verdict is given once, and a lead ends with
/// nobody asleep whom it should have woken.
#[test]
fn each_commit_has_one_verdict_whoever_applies_it() {
    let (image, _) = image(1);
    let (followed, passed_on, taken_along) = (Seen::default(), Seen::default(), Seen::default());
    let seen = (followed.clone(), passed_on.clone(), taken_along.clone());
    check(300, move || {
        let disk = image.fork();
        let db = open(&disk, 40);
        let before = db.commit_counts();
        let acknowledged = Acknowledged::default();
        let told: Arc<Mutex<Option<(Lsn, Pair)>>> = Arc::default();
        let leaves = thread::spawn({
            let (db, told, seen) = (db.clone(), told.clone(), seen.clone());
            move || {
                let mut tx = db.begin().unwrap();
                let pair = Pair::create(&mut tx, 0);
                let own = thread::current().id();
                leave(tx, move |outcome| {
                    linger();
                    // Nothing else is left, so all that waits has a thread, and this lead ends now.
                    if db.commit_counts().waiting > 0 {
                        seen.1.once();
                    }
                    if thread::current().id() != own {
                        seen.2.once();
                    }
                    // Whoever applied it has the log synced, and nobody else asks for that.
                    *told.lock().unwrap() = Some((outcome.unwrap(), pair));
                });
            }
        });
        let waits = [1, 3].map(|first| {
            let (db, acknowledged) = (db.clone(), acknowledged.clone());
            thread::spawn(move || {
                [first, first + 1].map(|number| {
                    let mut tx = db.begin().unwrap();
                    let pair = Pair::create(&mut tx, number);
                    let lsn = tx.commit().unwrap().lsn;
                    db.store().wait_visible(lsn).unwrap();
                    acknowledged.note(&db, pair);
                    lsn
                })
            })
        });
        let comes = thread::spawn({
            let db = db.clone();
            move || db.apply_waiting()
        });
        let [one, other] = waits.map(|task| task.join().unwrap());
        leaves.join().unwrap();
        comes.join().unwrap();
        // Of two that wait and are of one group, one was asleep while the other one's thread applied it, or a third did.
        if one.iter().any(|lsn| other.contains(lsn)) {
            seen.0.once();
        }
        nothing_is_left(&db);
        let (lsn, left) = told.lock().unwrap().take().unwrap();
        assert!(db.store().visible_lsn() >= lsn, "it was told, and will not be durable");
        acknowledged.note(&db, left);
        assert_eq!(db.commit_counts().sets - before.sets, 5);
        let mut pairs = acknowledged.0.lock().unwrap().clone();
        pairs.sort_unstable_by_key(|pair| pair.number);
        assert!(pairs.iter().map(|pair| pair.number).eq(0..5), "{pairs:?}");
        let reopened = after_power_cut(&disk).snapshot().unwrap();
        pairs.iter().for_each(|pair| pair.assert_in(&reopened));
        assert_eq!((reopened.node_count().unwrap(), reopened.edge_count().unwrap()), (1 + 2 * 5, 5));
    });
    followed.assert_some("a follower whose commit another thread applied");
    passed_on.assert_some("a lead that was passed on");
    taken_along.assert_some("a commit that was left and that another thread applied");
}

/// The way of one node from owner to owner: each creates a node in the slot that the one before it freed, and frees the slot of
/// the node which that one created.
struct Chain {
    hub: NodeId,
    links: Mutex<Vec<Link>>,
}

#[derive(Clone, Copy)]
struct Link {
    freed: NodeId,
    created: NodeId,
    is_told: bool,
}

impl Chain {
    /// Everything but the commit. Returns which one in the row this is.
    fn change(&self, tx: &mut Transaction, seen: &(Seen, Seen)) -> usize {
        tx.set_read_intent(ReadIntent::Update);
        let number = get(tx, self.hub).unwrap();
        let place = usize::try_from(number).unwrap() + 1;
        let before = {
            let links = self.links.lock().unwrap();
            assert_eq!(links.len(), place, "the one before was not seen, or another one has the node too");
            links[place - 1]
        };
        if !before.is_told {
            seen.0.once();
        }
        if tx.seen_lsn() > tx.db().store().visible_lsn() {
            seen.1.once();
        }
        // One lock is let go of after the other. Once that on the slot is gone, the slot is free.
        assert!(!tx.node_exists(before.freed).unwrap());
        let created = tx.create_node(&[], &[(KEY, Value::Int(number))]).unwrap();
        assert_eq!(created.slot(), before.freed.slot(), "a free slot is known as leased");
        tx.delete_node(before.created, false).unwrap();
        put(tx, self.hub, number + 1);
        self.links.lock().unwrap().push(Link { freed: before.created, created, is_told: false });
        place
    }
}

/// Who was told of what, and who held locks right then.
#[derive(Clone, Default)]
struct Tellings(Arc<Mutex<Vec<Telling>>>);

struct Telling {
    owner: OwnerId,
    lsn: Lsn,
    holders: Vec<OwnerId>,
}

impl Tellings {
    fn note(&self, db: &GraphDb, owner: OwnerId, lsn: Lsn) {
        let picture = db.locks().picture();
        let holders = picture.locks.iter().filter(|lock| lock.granted).map(|lock| lock.owner).collect();
        self.0.lock().unwrap().push(Telling { owner, lsn, holders });
    }

    /// Whoever held a lock then was of a later group. Returns how many were told.
    fn verify(&self) -> usize {
        let tellings = self.0.lock().unwrap();
        for telling in tellings.iter() {
            let held = |other: &&Telling| other.lsn <= telling.lsn && telling.holders.contains(&other.owner);
            if let Some(other) = tellings.iter().find(held) {
                panic!("{:?} was told, and {:?}, applied by then, had a lock", telling.owner, other.owner);
            }
        }
        tellings.len()
    }
}

/// A table page with one free slot, and one node that all owners change, one after the other. Each finds what the one before
/// did, and the slot that it freed, as soon as its lock on that is gone: before it is told, and long before it is durable.
#[test]
fn what_an_owner_held_is_settled_and_free_before_it_is_told() {
    const BESIDE: i64 = 4;
    let (image, ids) = image(nodes::NODES_PER_PAGE - 1);
    let (early, not_durable) = (Seen::default(), Seen::default());
    let seen = (early.clone(), not_durable.clone());
    check(300, move || {
        let disk = image.fork();
        let db = open(&disk, 40);
        let free = NodeId::new(NodeSlot(nodes::NODES_PER_PAGE as u64 - 1), 0);
        let links = Mutex::new(vec![Link { freed: free, created: ids[1], is_told: true }]);
        let chain = Arc::new(Chain { hub: ids[0], links });
        let tellings = Tellings::default();
        let mut tasks = Vec::new();
        for leaves in [false, true, false] {
            let (db, chain, tellings, seen) = (db.clone(), chain.clone(), tellings.clone(), seen.clone());
            tasks.push(thread::spawn(move || {
                let mut tx = db.begin().unwrap();
                let owner = tx.id();
                let place = chain.change(&mut tx, &seen);
                let tell = move |lsn| {
                    chain.links.lock().unwrap()[place].is_told = true;
                    tellings.note(&db, owner, lsn);
                };
                if leaves {
                    leave(tx, move |outcome| tell(outcome.unwrap()));
                } else {
                    tell(tx.commit().unwrap().lsn);
                }
            }));
        }
        // Has no lock in common with them, and so applies what they hand in, or has its own applied by them.
        let beside = ids[2];
        tasks.push(thread::spawn({
            let (db, tellings) = (db.clone(), tellings.clone());
            move || {
                for number in 1..=BESIDE {
                    linger();
                    let mut tx = db.begin().unwrap();
                    let owner = tx.id();
                    put(&mut tx, beside, number);
                    tellings.note(&db, owner, tx.commit().unwrap().lsn);
                }
            }
        }));
        tasks.into_iter().for_each(|task| task.join().unwrap());
        nothing_is_left(&db);
        assert_eq!(tellings.verify(), 3 + BESIDE as usize);
        db.store().wait_visible(db.store().applied_lsn()).unwrap();
        let reopened = after_power_cut(&disk).snapshot().unwrap();
        assert_eq!((get(&reopened, ids[0]), get(&reopened, beside)), (Some(3), Some(BESIDE)));
        assert_eq!(reopened.node_count().unwrap(), ids.len() as u64);
    });
    early.assert_some("an owner that came before the last one was told");
    not_durable.assert_some("an owner that saw what was not durable");
}

/// A table page with two free slots, and two who create and delete nodes there: slots are leased, used and freed all the time,
/// and the pool looks for free ones again and again. Each slot is one owner's.
#[test]
fn no_slot_is_taken_twice() {
    let (image, ids) = image(nodes::NODES_PER_PAGE - 2);
    let reused = Seen::default();
    let seen = reused.clone();
    check(300, move || {
        let disk = image.fork();
        let db = open(&disk, 40);
        let tasks = [0, 3].map(|first| {
            let (db, ids) = (db.clone(), ids.clone());
            thread::spawn(move || {
                [first, first + 1, first + 2].map(|place| {
                    let mut tx = db.begin().unwrap();
                    let created = tx.create_node(&[], &[(KEY, Value::Int(1 + place as i64))]).unwrap();
                    tx.delete_node(ids[place], false).unwrap();
                    tx.commit().unwrap();
                    created
                })
            })
        });
        let created: Vec<NodeId> = tasks.into_iter().flat_map(|task| task.join().unwrap()).collect();
        if created.iter().any(|id| id.generation() > 0) {
            seen.once();
        }
        nothing_is_left(&db);
        let slots: BTreeSet<NodeSlot> = created.iter().map(|id| id.slot()).collect();
        assert_eq!(slots.len(), created.len(), "{created:?}");
        db.store().wait_visible(db.store().applied_lsn()).unwrap();
        let reopened = after_power_cut(&disk).snapshot().unwrap();
        let numbers: Vec<Option<i64>> = created.iter().map(|id| get(&reopened, *id)).collect();
        assert!(numbers.into_iter().eq((1..=6).map(Some)), "{created:?}");
        assert!(ids[..6].iter().all(|id| !reopened.node_exists(*id).unwrap()));
        assert_eq!(reopened.node_count().unwrap(), ids.len() as u64);
    });
    reused.assert_some("a slot that was freed and taken again");
}

/// The disk is full, and what one leaves needs more room, so no group with it can be applied. It alone is refused; what is left
/// beside it, waits beside it or comes later is applied.
#[test]
fn whoever_is_refused_takes_nobody_with_it() {
    /// More than a database file grows by at a time.
    const LARGE_BYTES: usize = 700_000;
    let (image, ids) = image(4);
    let parted = Seen::default();
    let seen = parted.clone();
    check(300, move || {
        let disk = image.fork();
        let db = open(&disk, 40);
        disk.set_capacity(Some(disk.used()));
        let refused = Arc::new(AtomicU64::new(0));
        let is_left = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        tasks.push(thread::spawn({
            let (db, id, seen) = (db.clone(), ids[0], seen.clone());
            let (refused, is_left) = (refused.clone(), is_left.clone());
            move || {
                let mut tx = db.begin().unwrap();
                put(&mut tx, id, 1);
                leave(tx, move |outcome| {
                    outcome.unwrap();
                    // The other one is neither told nor in the queue, so it was taken with this one.
                    let is_taken = is_left.load(Ordering::SeqCst) && db.commit_counts().waiting == 0;
                    if is_taken && refused.load(Ordering::SeqCst) == 0 {
                        seen.once();
                    }
                });
            }
        }));
        tasks.push(thread::spawn({
            let (db, id) = (db.clone(), ids[1]);
            let (refused, is_left) = (refused.clone(), is_left.clone());
            move || {
                let mut tx = db.begin().unwrap();
                tx.set_node_property(id, KEY, Value::String("y".repeat(LARGE_BYTES))).unwrap();
                let then = Then(move |outcome| match outcome {
                    Err(Error::Store(error)) if error.is_disk_full() => {
                        refused.fetch_add(1, Ordering::SeqCst);
                    }
                    outcome => panic!("{outcome:?}"),
                });
                assert!(tx.leave(None, then).is_none());
                is_left.store(true, Ordering::SeqCst);
                come(&db);
            }
        }));
        tasks.extend([ids[2], ids[3]].map(|id| {
            let db = db.clone();
            thread::spawn(move || {
                let mut tx = db.begin().unwrap();
                put(&mut tx, id, 1);
                db.store().wait_visible(tx.commit().unwrap().lsn).unwrap();
            })
        }));
        tasks.into_iter().for_each(|task| task.join().unwrap());
        nothing_is_left(&db);
        assert_eq!(refused.load(Ordering::SeqCst), 1, "a refusal is told once");
        db.store().wait_visible(db.store().applied_lsn()).unwrap();
        disk.set_capacity(None);
        let reopened = after_power_cut(&disk).snapshot().unwrap();
        let numbers: Vec<Option<i64>> = ids.iter().map(|id| get(&reopened, *id)).collect();
        assert_eq!(numbers, [1, 0, 1, 1].map(Some));
    });
    parted.assert_some("a commit that was applied by itself, as one beside it was refused");
}
