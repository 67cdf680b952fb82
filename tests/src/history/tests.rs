//! A checker that cannot fail proves nothing: each anomaly is shown to it, beside the history nearest to it that is
//! sound; and it is given what databases of weaker promises, played in memory, produce.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::Random;

/// A history in its text form, of which the last transaction read everything. Times, where the text has none, make all
/// transactions overlap but the last.
fn check_text(text: &str) -> Vec<&'static str> {
    let mut transactions = parse(text).unwrap();
    let last = transactions.len() - 1;
    (transactions[last].began, transactions[last].ended) = (1_000_000, 1_000_001);
    let mut names: Vec<&str> = check(&transactions, last).iter().map(|anomaly| anomaly.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Transactions of the given steps that overlap, committed in an order that the daemon did not tell.
fn overlapping(steps: &[&str]) -> Vec<&'static str> {
    let lines: Vec<String> =
        steps.iter().enumerate().map(|(client, steps)| format!("t {client} 1 {steps}\no 9 c0\n")).collect();
    check_text(&lines.concat())
}

const NOTHING: [&str; 0] = [];

#[test]
fn text_is_read_as_it_was_written() {
    let steps = vec![
        Step::Read(Object::List(3), vec![1, 2]),
        Step::Put(Object::List(3), 17),
        Step::Read(Object::Edges(0), vec![]),
        Step::Put(Object::Label(4), u64::MAX),
    ];
    let mut text = String::new();
    write_transaction(&mut text, 7, 12, &steps);
    let mut expected =
        Transaction { client: 7, began: 12, ended: u64::MAX, steps, outcome: Outcome::Unknown };
    assert_eq!(parse(&text).unwrap(), [expected.clone()], "its client did not live to see the end");
    for outcome in [Outcome::Committed { lsn: 99 }, Outcome::Aborted, Outcome::Unknown] {
        let mut text = text.clone();
        write_outcome(&mut text, 15, outcome);
        (expected.ended, expected.outcome) = (15, outcome);
        assert_eq!(parse(&text).unwrap(), [expected.clone()]);
        // Ended while the next line was written.
        assert_eq!(parse(&format!("{text}t 7 16 l3=1,")).unwrap(), [expected.clone()]);
    }
    assert_eq!(parse("").unwrap(), []);
    for wrong in ["x\n", "o 1 a\n", "t 1 2 x3+4\n", "t 1 2 l3\n", "t 1\n", "t 1 2\no 3 q\n"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn aborted_reads() {
    for read in ["l1=1", "e1=1", "n1=1"] {
        let put = read.replace('=', "+");
        let object = &read[..2];
        let bad = format!("t 1 1 {put}\no 9 a\nt 2 1 {read}\no 9 c0\nt 3 1 {object}=\no 9 c0\n");
        assert!(check_text(&bad).contains(&"G1a"), "{read}");
        let by_aborted = format!("t 1 1 {put}\no 9 a\nt 2 1 {read}\no 9 a\nt 3 1 {object}=\no 9 c0\n");
        assert!(check_text(&by_aborted).contains(&"G1a"), "who is rolled back has seen it all the same");
        let good = format!("t 1 1 {put}\no 9 a\nt 2 1 {object}=\no 9 c0\nt 3 1 {object}=\no 9 c0\n");
        assert_eq!(check_text(&good), NOTHING);
    }
}

#[test]
fn intermediate_reads() {
    assert!(overlapping(&["l1+1 l1+2", "l1=1", "l1=1,2"]).contains(&"G1b"));
    assert_eq!(overlapping(&["l1+1 l1+2", "l1=1,2", "l1=1,2"]), NOTHING);
    assert_eq!(overlapping(&["l1+1 l1+2", "l1=", "l1=1,2"]), NOTHING);
    assert_eq!(overlapping(&["l1+1 l1=1 l1+2", "l1=1,2", "l1=1,2"]), NOTHING, "it sees its own half");
    assert!(overlapping(&["e1+1 e1+2", "e1=2", "e1=1,2"]).contains(&"G1b"));
    assert_eq!(overlapping(&["e1+1 e1+2", "e1=2,1", "e1=1,2"]), NOTHING);
}

#[test]
fn internal_contradictions() {
    assert!(
        overlapping(&["l1+1", "l1= l1=1", "l1=1"]).contains(&"internal"),
        "a read that is not repeatable"
    );
    assert_eq!(overlapping(&["l1+1", "l1=1 l1=1", "l1=1"]), NOTHING);
    assert!(overlapping(&["l1+1 l1=", "l1=1"]).contains(&"internal"), "it does not see what it wrote");
    assert_eq!(overlapping(&["l1=1 l1+2 l1=1,2", "l1+1", "l1=1,2"]), NOTHING);
    assert!(overlapping(&["e1= e1+1 e1=", "e1=1"]).contains(&"internal"));
    assert!(overlapping(&["n1+1", "n1=1 n1=", "n1=1"]).contains(&"internal"));
    assert_eq!(overlapping(&["e1=2 e1+1 e1=1,2", "e1+2", "e1=1,2"]), NOTHING);
}

#[test]
fn elements_from_nowhere_and_elements_twice() {
    assert!(overlapping(&["l1=7", "l1=7"]).contains(&"unknown element"));
    assert!(overlapping(&["e1+1", "e1=1,1"]).contains(&"duplicate"));
    assert!(overlapping(&["l1+1", "l1=1,1"]).contains(&"duplicate"));
}

#[test]
fn lists_in_two_orders() {
    assert!(overlapping(&["l1+1", "l1+2", "l1=1", "l1=2", "l1=1,2"]).contains(&"incompatible order"));
    assert_eq!(overlapping(&["l1+1", "l1+2", "l1=1", "l1=1,2"]), NOTHING);
    // What a transaction wrote that was rolled back is nobody's business.
    let rolled_back =
        "t 1 1 l1=1 l1+2 l1=1,2\no 9 a\nt 2 1 l1+1\no 9 c0\nt 3 1 l1+3\no 9 c0\nt 4 1 l1=1,3\no 9 c0\n";
    assert_eq!(check_text(rolled_back), NOTHING);
}

#[test]
fn lost_elements() {
    assert!(overlapping(&["l1+1", "l1+2", "l1=1"]).contains(&"lost"));
    assert!(overlapping(&["n1+1", "n1="]).contains(&"lost"));
    assert_eq!(overlapping(&["l1+1", "l1+2", "l1=1,2"]), NOTHING);
    let unknown =
        |last: &str| check_text(&format!("t 1 1 l1+1\no 9 u\nt 2 1 l1=\no 9 c0\nt 3 1 {last}\no 9 c0\n"));
    assert_eq!(unknown("l1="), NOTHING, "it may have been committed or not");
    assert_eq!(unknown("l1=1"), NOTHING);
    let seen = "t 1 1 l1+1\no 9 u\nt 2 1 l1=1\no 9 c0\nt 3 1 l1=\no 9 c0\n";
    assert!(check_text(seen).contains(&"lost"), "it was committed, for it was read");
}

#[test]
fn dirty_writes() {
    // T1 before T2 on the one list and after it on the other, and nobody read in between.
    assert_eq!(overlapping(&["l1+1 l2+1", "l1+2 l2+2", "l1=1,2 l2=2,1"]), ["G0"]);
    assert_eq!(overlapping(&["l1+1 l2+1", "l1+2 l2+2", "l1=1,2 l2=1,2"]), NOTHING);
}

#[test]
fn circular_information_flow() {
    assert_eq!(overlapping(&["l1+1 l2=2", "l2+2 l1=1", "l1=1 l2=2"]), ["G1c"]);
    assert_eq!(overlapping(&["l1+1 l2=", "l2+2 l1=1", "l1=1 l2=2"]), NOTHING);
    assert_eq!(overlapping(&["e1+1 n2=2", "n2+2 e1=1", "e1=1 n2=2"]), ["G1c"]);
}

#[test]
fn one_missed_write() {
    // A read skew: it sees the one half of what was written together.
    assert_eq!(overlapping(&["l1+1 l2+1", "l1=1 l2=", "l1=1 l2=1"]), ["G-single"]);
    assert_eq!(overlapping(&["e1+1 n2+1", "e1= n2=1", "e1=1 n2=1"]), ["G-single"]);
    assert_eq!(overlapping(&["l1+1 l2+1", "l1=1 l2=1", "l1=1 l2=1"]), NOTHING);
    // A lost update: both read the same and wrote upon it.
    assert_eq!(overlapping(&["l1= l1+1", "l1= l1+2", "l1=1,2"]), ["G-single"]);
    assert_eq!(overlapping(&["l1= l1+1", "l1=1 l1+2", "l1=1,2"]), NOTHING);
}

#[test]
fn two_missed_writes() {
    // A write skew, on lists, on edges, and on labels as predicates.
    for (a, b) in [("l1", "l2"), ("e1", "e2"), ("n1", "n2"), ("l1", "n1")] {
        let bad = [format!("{a}= {b}= {a}+1"), format!("{a}= {b}= {b}+2"), format!("{a}=1 {b}=2")];
        assert_eq!(overlapping(&[&bad[0], &bad[1], &bad[2]]), ["G2"], "{a} {b}");
        let good = [format!("{a}= {b}= {a}+1"), format!("{a}=1 {b}= {b}+2"), format!("{a}=1 {b}=2")];
        assert_eq!(overlapping(&[&good[0], &good[1], &good[2]]), NOTHING, "{a} {b}");
    }
    // Two readers that see two independent writes in different orders.
    assert_eq!(overlapping(&["l1+1", "e2+2", "l1=1 e2=", "l1= e2=2", "l1=1 e2=2"]), ["G2"]);
    assert_eq!(overlapping(&["l1+1", "e2+2", "l1=1 e2=", "l1= e2=", "l1=1 e2=2"]), NOTHING);
}

#[test]
fn snapshots_that_are_no_prefix_of_the_commit_order() {
    let history = |reader: &str, first: u64, second: u64| {
        check_text(&format!(
            "t 1 1 l1+1\no 9 c{first}\nt 2 1 l2+2\no 9 c{second}\nt 3 1 {reader}\no 9 c0\nt 4 1 l1=1 l2=2\no 9 c0\n"
        ))
    };
    assert_eq!(history("l1= l2=2", 10, 20), ["commit order"]);
    assert_eq!(history("l1=1 l2=", 10, 20), NOTHING);
    assert_eq!(history("l1= l2=2", 20, 10), NOTHING);
    // A group is shown whole or not at all, but the order within is not told.
    assert_eq!(history("l1= l2=2", 10, 10), NOTHING);
}

#[test]
fn a_commit_order_that_is_none() {
    let history = |first: u64, second: u64| {
        check_text(&format!(
            "t 1 1 l1= l1+1\no 9 c{first}\nt 2 1 l1=1 l1+2\no 9 c{second}\nt 3 1 l1=1,2\no 9 c0\n"
        ))
    };
    assert_eq!(history(10, 20), NOTHING);
    assert_eq!(history(10, 10), NOTHING);
    assert_eq!(history(20, 10), ["commit order"]);
}

#[test]
fn stale_reads() {
    let history = |ended: u64, outcome: &str| {
        check_text(&format!("t 1 1 l1+1\no {ended} {outcome}\nt 2 5 l1=\no 9 c0\nt 3 1 l1=1\no 9 c0\n"))
    };
    assert_eq!(history(4, "c7"), ["real time"], "it was acknowledged before the reader began");
    assert_eq!(history(5, "c7"), NOTHING, "at the same instant");
    assert_eq!(history(6, "c7"), NOTHING);
    assert_eq!(history(4, "u"), NOTHING, "nobody was told");
    // Over another reader: what was once shown does not disappear.
    let shown = "t 1 1 l1+1\no 90 u\nt 2 5 l1=1\no 9 c0\nt 3 10 l1=\no 20 c0\nt 4 1 l1=1\no 9 c0\n";
    assert_eq!(check_text(shown), ["real time"]);
}

#[test]
fn a_story_tells_each_transaction_of_the_cycle() {
    let transactions =
        parse("t 1 1 l1= l2= l1+1\no 9 c0\nt 2 1 l1= l2= l2+2\no 9 c0\nt 3 20 l1=1 l2=2\no 30 c0\n");
    let found = check(&transactions.unwrap(), 2);
    let [anomaly] = &found[..] else { panic!("{found:?}") };
    for client in ["client 1,", "client 2,"] {
        assert_eq!(anomaly.story.matches(client).count(), 1, "{anomaly}");
    }
    assert_eq!(anomaly.story.matches("missed").count(), 2, "{anomaly}");
}

/// What a database that is played in memory promises.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Promise {
    Serializable,
    /// Reads are of the moment of the beginning; who writes what others wrote since is rolled back.
    Snapshot,
    /// Reads are of the moment of the read.
    ReadCommitted,
    /// As serializable, but who only reads may read what was so a while ago.
    Stale,
}

/// Plays transactions of several clients, one step after another in an order that chance gives.
struct Play {
    promise: Promise,
    random: Random,
    /// All that was committed: by which commit each element came.
    committed: BTreeMap<Object, Vec<(u64, Element)>>,
    commits: u64,
    clock: u64,
    elements: u64,
    finished: Vec<Transaction>,
}

struct Running {
    transaction: Transaction,
    snapshot: u64,
    steps_left: u64,
    may_write: bool,
}

impl Play {
    fn new(promise: Promise, seed: u64) -> Play {
        Play {
            promise,
            random: Random::new(seed),
            committed: BTreeMap::new(),
            commits: 0,
            clock: 0,
            elements: 0,
            finished: Vec::new(),
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn begin(&mut self, client: u32) -> Running {
        let may_write = self.random.below(3) > 0;
        let began = self.tick();
        let snapshot = match self.promise {
            Promise::Stale if !may_write => self.commits.saturating_sub(20),
            _ => self.commits,
        };
        let transaction =
            Transaction { client, began, ended: 0, steps: Vec::new(), outcome: Outcome::Unknown };
        Running { transaction, snapshot, steps_left: 1 + self.random.below(4), may_write }
    }

    fn object(&mut self) -> Object {
        let number = u32::try_from(self.clock / 400 * 3 + self.random.below(3)).unwrap();
        match number % 3 {
            0 => Object::List(number),
            1 => Object::Edges(number),
            _ => Object::Label(number),
        }
    }

    fn step(&mut self, running: &mut Running) {
        let object = self.object();
        if running.may_write && self.random.below(2) == 0 {
            self.elements += 1;
            running.transaction.steps.push(Step::Put(object, self.elements));
            return;
        }
        let until = if self.promise == Promise::ReadCommitted { u64::MAX } else { running.snapshot };
        let there = self.committed.get(&object).into_iter().flatten();
        let mut elements: Vec<Element> =
            there.filter(|(commit, _)| *commit <= until).map(|(_, element)| *element).collect();
        elements.extend(running.transaction.steps.iter().filter_map(|step| match step {
            Step::Put(own, element) if *own == object => Some(*element),
            _ => None,
        }));
        running.transaction.steps.push(Step::Read(object, elements));
    }

    /// Whether what it read, or wrote upon, has changed since it began.
    fn conflicts(&self, running: &Running) -> bool {
        running.transaction.steps.iter().any(|step| {
            let object = match step {
                Step::Read(object, _) if self.promise == Promise::Serializable => object,
                Step::Read(object, _) if self.promise == Promise::Stale && running.may_write => object,
                Step::Put(object, _) if self.promise != Promise::ReadCommitted => object,
                _ => return false,
            };
            let there = self.committed.get(object).into_iter().flatten();
            there.into_iter().any(|(commit, _)| *commit > running.snapshot)
        })
    }

    fn end(&mut self, mut running: Running) {
        let only_reads = !running.transaction.steps.iter().any(|step| matches!(step, Step::Put(..)));
        running.transaction.outcome = if only_reads && self.promise != Promise::ReadCommitted {
            Outcome::Committed { lsn: 0 }
        } else if self.conflicts(&running) || self.random.below(20) == 0 {
            Outcome::Aborted
        } else {
            self.commits += 1;
            for step in &running.transaction.steps {
                if let Step::Put(object, element) = step {
                    self.committed.entry(*object).or_default().push((self.commits, *element));
                }
            }
            Outcome::Committed { lsn: if only_reads { 0 } else { self.commits } }
        };
        running.transaction.ended = self.tick();
        self.finished.push(running.transaction);
    }

    fn play(mut self, transactions: usize) -> Vec<&'static str> {
        let mut running: HashMap<u32, Running> = HashMap::new();
        while self.finished.len() < transactions {
            let client = u32::try_from(self.random.below(6)).unwrap();
            match running.remove(&client) {
                None => {
                    let begun = self.begin(client);
                    running.insert(client, begun);
                }
                Some(ending) if ending.steps_left == 0 => self.end(ending),
                Some(mut going_on) => {
                    going_on.steps_left -= 1;
                    self.step(&mut going_on);
                    running.insert(client, going_on);
                }
            }
        }
        let began = self.tick();
        let all = self.committed.iter();
        let steps = all.map(|(object, elements)| {
            Step::Read(*object, elements.iter().map(|(_, element)| *element).collect())
        });
        let (steps, outcome) = (steps.collect(), Outcome::Committed { lsn: 0 });
        self.finished.push(Transaction { client: 99, began, ended: began + 1, steps, outcome });
        let found = check(&self.finished, self.finished.len() - 1);
        let mut names: Vec<&str> = found.iter().map(|anomaly| anomaly.name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[test]
fn a_database_is_known_by_what_it_produces() {
    for seed in 0..8 {
        assert_eq!(Play::new(Promise::Serializable, seed).play(1000), NOTHING, "{seed}");
        assert_eq!(Play::new(Promise::Snapshot, seed).play(1000), ["G2"], "{seed}: write skew");
        let committed = Play::new(Promise::ReadCommitted, seed).play(1000);
        assert!(committed.contains(&"internal"), "{seed}: {committed:?}");
        assert_eq!(Play::new(Promise::Stale, seed).play(1000), ["real time"], "{seed}");
    }
}
