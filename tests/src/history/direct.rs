//! What is wrong by itself, without a cycle.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Anomaly, Element, History, Object, Outcome, STORIES_MAX, Step, Transaction};

/// The order of each list's elements, as far as it was ever read.
pub(super) type Versions = BTreeMap<Object, Vec<Element>>;

/// Stories, at most so many of each sort.
struct Stories<'a> {
    found: &'a mut Vec<Anomaly>,
    told: HashMap<&'static str, usize>,
}

impl Stories<'_> {
    fn tell(&mut self, name: &'static str, story: impl FnOnce() -> String) {
        let told = self.told.entry(name).or_default();
        *told += 1;
        if *told <= STORIES_MAX {
            self.found.push(Anomaly { name, story: story() });
        }
    }
}

pub(super) fn check(history: &History<'_>, last: usize) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut stories = Stories { found: &mut found, told: HashMap::new() };
    for (index, transaction) in history.transactions.iter().enumerate() {
        internal(transaction, &mut stories);
        // What a transaction read that was rolled back afterwards counts too: it has seen it.
        for (object, elements) in transaction.reads() {
            repeated(transaction, object, elements, &mut stories);
            foreign(history, index, object, elements, &mut stories);
        }
    }
    lost(history, last, &mut stories);
    found
}

/// An object within a transaction: what it must hold if it was read already, and what the transaction put into it.
#[derive(Default)]
struct Seen {
    read: Option<Vec<Element>>,
    own: Vec<Element>,
}

/// A transaction sees what it read before, and what it wrote.
fn internal(transaction: &Transaction, stories: &mut Stories<'_>) {
    let mut objects: HashMap<Object, Seen> = HashMap::new();
    for step in &transaction.steps {
        match step {
            Step::Put(object, element) => {
                let seen = objects.entry(*object).or_default();
                if let Some(read) = &mut seen.read {
                    read.push(*element);
                }
                seen.own.push(*element);
            }
            Step::Read(object, elements) => {
                let seen = objects.entry(*object).or_default();
                let fits = match &seen.read {
                    Some(expected) if object.is_ordered() => expected == elements,
                    Some(expected) => same_elements(expected, elements),
                    None if object.is_ordered() => elements.ends_with(&seen.own),
                    None => seen.own.iter().all(|own| elements.contains(own)),
                };
                if !fits {
                    stories
                        .tell("internal", || format!("{object} is not what it was before in {transaction}"));
                }
                seen.read = Some(elements.clone());
            }
        }
    }
}

fn same_elements(a: &[Element], b: &[Element]) -> bool {
    let sorted = |elements: &[Element]| {
        let mut elements = elements.to_vec();
        elements.sort_unstable();
        elements
    };
    sorted(a) == sorted(b)
}

fn repeated(transaction: &Transaction, object: Object, elements: &[Element], stories: &mut Stories<'_>) {
    let mut once = HashSet::new();
    if let Some(twice) = elements.iter().find(|element| !once.insert(**element)) {
        stories.tell("duplicate", || format!("element {twice} is twice in {object} in {transaction}"));
    }
}

/// What others wrote: they must not have been rolled back, and all of their elements must be there.
fn foreign(
    history: &History<'_>,
    reader: usize,
    object: Object,
    elements: &[Element],
    stories: &mut Stories<'_>,
) {
    let transaction = &history.transactions[reader];
    let mut writers = HashSet::new();
    for element in elements {
        let Some(writer) = history.writer(object, *element) else {
            stories.tell("unknown element", || {
                format!("nobody put element {element} into {object}, which is in {transaction}")
            });
            continue;
        };
        if writer == reader || !writers.insert(writer) {
            continue;
        }
        let wrote = &history.transactions[writer];
        if wrote.outcome == Outcome::Aborted {
            stories.tell("G1a", || format!("{transaction} read element {element} of {wrote}"));
        }
        let missing = history.puts[writer][&object].iter().find(|own| !elements.contains(own));
        if let Some(missing) = missing {
            stories.tell("G1b", || {
                format!("{transaction} read element {element} and not {missing} in {object}, both of {wrote}")
            });
        }
    }
}

/// What was acknowledged is there in the end.
fn lost(history: &History<'_>, last: usize, stories: &mut Stories<'_>) {
    let mut there: HashMap<Object, HashSet<Element>> = HashMap::new();
    for (object, elements) in history.transactions[last].reads() {
        there.entry(object).or_default().extend(elements);
    }
    for (index, transaction) in history.committed() {
        for (object, elements) in &history.puts[index] {
            let Some(there) = there.get(object) else { continue };
            if let Some(lost) = elements.iter().find(|element| !there.contains(element)) {
                stories
                    .tell("lost", || format!("element {lost} is not in {object} at the end: {transaction}"));
            }
        }
    }
}

/// The longest read of each list, of which all others have to be beginnings. What a transaction read that was rolled
/// back counts, up to what it wrote itself.
pub(super) fn versions(history: &History<'_>, found: &mut Vec<Anomaly>) -> Versions {
    let mut stories = Stories { found, told: HashMap::new() };
    let mut longest: BTreeMap<Object, (&[Element], usize)> = BTreeMap::new();
    let mut reads: Vec<(Object, &[Element], usize)> = Vec::new();
    for (index, transaction) in history.transactions.iter().enumerate() {
        for (object, elements) in transaction.reads().filter(|(object, _)| object.is_ordered()) {
            let foreign = if history.committed[index] {
                elements
            } else {
                before_own(history, index, object, elements)
            };
            reads.push((object, foreign, index));
            let known = longest.entry(object).or_insert((foreign, index));
            if foreign.len() > known.0.len() {
                *known = (foreign, index);
            }
        }
    }
    for (object, elements, index) in reads {
        let (version, by) = longest[&object];
        if !version.starts_with(elements) {
            let [one, other] = [index, by].map(|index| &history.transactions[index]);
            stories.tell("incompatible order", || format!("of {object} in {one}, and in {other}"));
        }
    }
    longest.into_iter().map(|(object, (elements, _))| (object, elements.to_vec())).collect()
}

fn before_own<'a>(
    history: &History<'_>,
    index: usize,
    object: Object,
    elements: &'a [Element],
) -> &'a [Element] {
    let own = |element: &Element| history.writer(object, *element) == Some(index);
    let end = elements.iter().position(own).unwrap_or(elements.len());
    &elements[..end]
}
