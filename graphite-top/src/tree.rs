//! The tree of who waits for whom.
//!
//! Waiting is a graph: a session may wait behind several, and for a moment in a circle. It is drawn as a tree by showing
//! what waits behind a session below the first of those in whose way it stands; wherever else it would stand, a line
//! refers to it. So every line is there once, whatever the graph, and a chain of thousands needs no recursion.

use graphite_client::messages::Session;
use rustc_hash::{FxHashMap, FxHashSet};

/// How many sessions are looked at to count those behind one; past that the count stands.
const BEHIND_VISITS_MAX: usize = 20_000;

/// Who waits directly behind whom, by places.
#[derive(Debug, Default)]
pub struct Behind {
    waiters: FxHashMap<u32, Vec<u32>>,
    counts: FxHashMap<u32, u64>,
}

impl Behind {
    /// Sessions that wait behind one, directly or not.
    pub fn count(&self, place: u32) -> u64 {
        self.counts.get(&place).copied().unwrap_or(0)
    }

    /// Those that wait for one directly.
    pub fn waiters(&self, place: u32) -> &[u32] {
        self.waiters.get(&place).map_or(&[], Vec::as_slice)
    }

    /// Those in whose way others are and who wait for nobody, with most behind them first.
    pub fn roots(&self, sessions: &[Session]) -> Vec<u32> {
        let waits_for_nobody = |place: &u32| sessions[*place as usize].blocked_by.is_empty();
        let mut roots: Vec<u32> = self.waiters.keys().copied().filter(waits_for_nobody).collect();
        roots.sort_by_key(|place| (std::cmp::Reverse(self.count(*place)), *place));
        roots
    }

    /// All that wait behind one, nearest first.
    pub fn all(&self, place: u32) -> Vec<u32> {
        let mut seen = FxHashSet::from_iter([place]);
        let mut found: Vec<u32> = Vec::new();
        let mut next = 0;
        let mut at = place;
        loop {
            found.extend(self.waiters(at).iter().filter(|waiter| seen.insert(**waiter)));
            let Some(following) = found.get(next) else { return found };
            (at, next) = (*following, next + 1);
        }
    }
}

/// Turns who is blocked by whom around.
pub fn behind(sessions: &[Session], place_of: &FxHashMap<u64, u32>) -> Behind {
    let mut behind = Behind::default();
    for (at, row) in sessions.iter().enumerate() {
        for blocker in row.blocked_by.iter().filter_map(|session| place_of.get(session)) {
            behind.waiters.entry(*blocker).or_default().push(u32::try_from(at).unwrap_or(u32::MAX));
        }
    }
    let mut visits = 0;
    let blockers: Vec<u32> = behind.waiters.keys().copied().collect();
    for place in blockers {
        // Counting all of a long chain from each of its members is quadratic; past the limit direct waiters are counted.
        let count =
            if visits < BEHIND_VISITS_MAX { behind.all(place).len() } else { behind.waiters(place).len() };
        visits += count;
        behind.counts.insert(place, count as u64);
    }
    behind
}

/// Those that wait for the same lock behind the same others: arcs of the wait-for graph that are drawn as one. Each group
/// has whoever waits longest first, and so have the groups. Sessions are given by their places.
pub fn arcs(sessions: &[Session]) -> Vec<Vec<u32>> {
    let mut waiting: Vec<(u32, &Session)> =
        (0u32..).zip(sessions).filter(|(_, row)| row.wait_ms.is_some() || row.awaits_admission).collect();
    waiting.sort_by_key(|(at, row)| (std::cmp::Reverse(row.wait_ms), *at));
    let mut group_of: FxHashMap<(&[u64], Option<&str>), usize> = FxHashMap::default();
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for (at, row) in waiting {
        let group = group_of.entry((&row.blocked_by, row.waits_for.as_deref())).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[*group].push(at);
    }
    groups
}

/// What a line of the tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A session, with those behind it below.
    Session,
    /// A session that stands elsewhere with those behind it.
    Again,
    /// A session that waits for one above it: a circle, which a deadlock's victim ends.
    Circle,
}

/// A line of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The session's place.
    pub place: u32,
    /// What the line is.
    pub kind: Kind,
    /// How many stand above it.
    pub depth: u32,
    /// Whether it is the last below the one above.
    pub last: bool,
    /// For each level above, from the highest bit of level 0 on, whether a rail runs on there.
    pub rails: u64,
    /// Whether others are below it, shown or not.
    pub has_waiters: bool,
}

struct Walk<'a> {
    behind: &'a Behind,
    folded: &'a dyn Fn(u32) -> bool,
    keep: &'a dyn Fn(u32) -> bool,
    seen: FxHashSet<u32>,
    lines: Vec<Line>,
}

/// The tree's lines. `keep` says whom a filter leaves (with those above them), `order` how those at one level stand.
pub fn lines(
    sessions: &[Session],
    behind: &Behind,
    folded: &dyn Fn(u32) -> bool,
    keep: &dyn Fn(u32) -> bool,
    order: &dyn Fn(u32, u32) -> std::cmp::Ordering,
) -> Vec<Line> {
    let mut places: Vec<u32> = behind.waiters.keys().copied().collect();
    places.sort_by(|one, two| behind.count(*two).cmp(&behind.count(*one)).then(order(*one, *two)));
    let waits = |place: &u32| !sessions[*place as usize].blocked_by.is_empty();
    let orphans = (0u32..).zip(sessions).filter(|(at, row)| {
        // Whoever waits for somebody that is not in the picture, or to be let write at all, is a root, too.
        let waits = row.wait_ms.is_some() || row.awaits_admission;
        waits && behind.waiters(*at).is_empty() && row.blocked_by.is_empty()
    });
    let mut orphans: Vec<u32> = orphans.map(|(at, _)| at).collect();
    orphans.sort_by(|one, two| order(*one, *two));
    let mut walk = Walk { behind, folded, keep, seen: FxHashSet::default(), lines: Vec::new() };
    for root in places.iter().filter(|place| !waits(place)) {
        walk.descend(*root, order);
    }
    // What is left waits in circles, of which any member may stand on top.
    for root in places.iter().filter(|place| waits(place)) {
        if !walk.seen.contains(root) {
            walk.descend(*root, order);
        }
    }
    orphans.into_iter().for_each(|root| walk.descend(root, order));
    walk.lines
}

impl Walk<'_> {
    fn descend(&mut self, root: u32, order: &dyn Fn(u32, u32) -> std::cmp::Ordering) {
        if !(self.keep)(root) {
            let all = self.behind.all(root);
            if !all.iter().any(|place| (self.keep)(*place)) {
                self.seen.insert(root);
                self.seen.extend(all);
                return;
            }
        }
        // Depth-first with a stack of its own; the path tells circles from mere repetitions.
        let mut path: Vec<u32> = Vec::new();
        let mut stack = vec![(root, 0u32, true, 0u64)];
        while let Some((place, depth, last, rails)) = stack.pop() {
            path.truncate(depth as usize);
            let has_waiters = !self.behind.waiters(place).is_empty();
            let kind = match self.seen.insert(place) {
                true => Kind::Session,
                false if path.contains(&place) => Kind::Circle,
                false => Kind::Again,
            };
            self.lines.push(Line { place, kind, depth, last, rails, has_waiters });
            path.push(place);
            if kind != Kind::Session || (self.folded)(place) {
                continue;
            }
            let mut waiters = self.behind.waiters(place).to_vec();
            waiters.sort_by(|one, two| order(*one, *two));
            let below = if last || depth == 0 { rails } else { rails | rail(depth) };
            for (index, waiter) in waiters.iter().enumerate().rev() {
                stack.push((*waiter, depth + 1, index + 1 == waiters.len(), below));
            }
        }
    }
}

/// The bit of a level's rail; levels past 63 are not drawn.
pub fn rail(depth: u32) -> u64 {
    1u64.checked_shl(depth).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::session;
    use graphite_client::messages::SessionState::{Active, Waiting};

    /// The lines as depth, session and kind.
    fn tree(edges: &[(u64, &[u64])]) -> Vec<(u32, u64, Kind)> {
        let state = |blockers: &[u64]| if blockers.is_empty() { Active } else { Waiting };
        let sessions: Vec<Session> =
            edges.iter().map(|(number, by)| session(*number, "u", "c", state(by), by)).collect();
        let place_of = (0u32..).zip(&sessions).map(|(at, row)| (row.session, at)).collect();
        let behind = behind(&sessions, &place_of);
        let lines = lines(&sessions, &behind, &|_| false, &|_| true, &|one, two| one.cmp(&two));
        lines.iter().map(|line| (line.depth, sessions[line.place as usize].session, line.kind)).collect()
    }

    #[test]
    fn whoever_waits_behind_two_stands_once_with_those_behind_it() {
        use Kind::{Again, Session};
        let found = tree(&[(1, &[]), (2, &[]), (3, &[1, 2]), (4, &[3])]);
        let wanted = [(0, 1, Session), (1, 3, Session), (2, 4, Session), (0, 2, Session), (1, 3, Again)];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_circle_ends_where_it_began() {
        use Kind::{Circle, Session};
        let found = tree(&[(1, &[3]), (2, &[1]), (3, &[2]), (4, &[])]);
        assert_eq!(found.len(), 4);
        assert_eq!((found[0].2, found[3].2), (Session, Circle));
        assert_eq!(found[0].1, found[3].1);
    }

    #[test]
    fn whoever_waits_for_the_same_behind_the_same_is_one_arc() {
        let mut sessions: Vec<Session> = [(1, &[][..]), (2, &[1]), (3, &[1]), (4, &[1, 2]), (5, &[1])]
            .map(|(number, by)| session(number, "u", "c", if by.is_empty() { Active } else { Waiting }, by))
            .into();
        sessions[2].wait_ms = Some(90_000);
        sessions[4].waits_for = Some("X page 40".into());
        assert_eq!(arcs(&sessions), [vec![2, 1], vec![3], vec![4]]);
    }

    #[test]
    fn a_chain_of_thousands_needs_no_recursion() {
        let blockers: Vec<[u64; 1]> = (0..5000).map(|number: u64| [number.saturating_sub(1)]).collect();
        let edges: Vec<(u64, &[u64])> =
            (0..5000).map(|n| (n, if n == 0 { &[][..] } else { &blockers[n as usize][..] })).collect();
        assert_eq!(tree(&edges).len(), 5000);
    }
}
