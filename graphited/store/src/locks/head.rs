//! One name's lock: who holds it, and who waits for it in which order.
//!
//! Invariants, checked in debug at each transition:
//! 1. No two owners hold modes that do not go together, and each owner holds or awaits it at most once.
//! 2. The queue is in the order in which its owners came to this name: a newcomer's place is the last; an owner that holds
//!    the lock already and wants more of it has the place that it had when it was granted. So conversions go ahead of
//!    newcomers, except that whoever was let past a waiter stands behind that waiter with its conversion as well.
//!    Otherwise a stream of owners that come with IS and go on to IX would keep out for ever who waits for S.
//! 3. Nobody goes past a waiter in front that it conflicts with, unless that one waits for its present hold anyway.
//!    (Standing behind it would then be a deadlock, and going ahead makes it wait for nobody new.)
//! 4. Nobody waits who could be served.
//!
//! Whether one waiter waits for another, or for a holder, depends on nothing but what the two of them hold and want here.
//! The search for deadlocks rests on that.

use std::collections::VecDeque;
use std::time::Duration;

use super::mode::{LockMode, MODES, ModeSet};
use super::owner::OwnerId;

/// The state of one name. `W` is whatever is told when a waiter is served.
#[derive(Debug)]
pub(super) struct Head<W> {
    granted: Vec<Grant>,
    /// By mode: how many hold it.
    counts: [u32; MODES],
    waiting: VecDeque<Waiter<W>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) owner: OwnerId,
    pub(super) tag: u64,
    pub(super) mode: LockMode,
    pub(super) since: Duration,
    /// The owner's place in the order of all that came to this name.
    ticket: u64,
}

/// What an owner wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) owner: OwnerId,
    pub(super) tag: u64,
    /// What it will hold then: if it holds something already, the join of both.
    pub(super) mode: LockMode,
    /// What it holds now.
    pub(super) held: Option<LockMode>,
    pub(super) since: Duration,
}

#[derive(Debug)]
struct Waiter<W> {
    request: Request,
    ticket: u64,
    waker: W,
}

impl<W> Default for Head<W> {
    fn default() -> Self {
        Head { granted: Vec::new(), counts: [0; MODES], waiting: VecDeque::new() }
    }
}

impl<W> Head<W> {
    pub(super) fn is_unused(&self) -> bool {
        self.granted.is_empty() && self.waiting.is_empty()
    }

    /// Whether it has room for few holders only.
    pub(super) fn is_small(&self, grants: usize) -> bool {
        self.granted.capacity().max(self.waiting.capacity()) <= grants
    }

    pub(super) fn granted(&self) -> &[Grant] {
        &self.granted
    }

    /// Who waits, in the order of the queue.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Request> {
        self.waiting.iter().map(|waiter| &waiter.request)
    }

    /// Grants the request if nothing stands against it. `ticket` is greater than all before it.
    pub(super) fn ask(&mut self, request: &Request, ticket: u64) -> bool {
        let ticket = self.ticket_of(request, ticket);
        let ahead = self.waiting.iter().take_while(|waiter| waiter.ticket < ticket);
        let ahead = ahead.fold(ModeSet::default(), |modes, waiter| modes.with(waiter.request.mode));
        let is_free = self.is_free(request, ahead);
        if is_free {
            self.grant(request, ticket);
            self.assert_invariants();
        }
        is_free
    }

    /// Puts a request that was not granted into the queue.
    pub(super) fn enqueue(&mut self, request: Request, ticket: u64, waker: W) {
        let ticket = self.ticket_of(&request, ticket);
        let place = self.waiting.partition_point(|waiter| waiter.ticket < ticket);
        self.waiting.insert(place, Waiter { request, ticket, waker });
        self.assert_invariants();
    }

    /// Takes an owner's hold away; `served` is told of everybody who has it now instead.
    pub(super) fn release(&mut self, owner: OwnerId, served: impl FnMut(W)) {
        let place = self.granted.iter().position(|grant| grant.owner == owner);
        let grant = self.granted.swap_remove(place.expect("an owner releases what it holds"));
        self.counts[grant.mode as usize] -= 1;
        self.serve(served);
    }

    /// Takes a waiter out of the queue. `None` if it does not wait, for it was served.
    pub(super) fn withdraw(&mut self, owner: OwnerId, served: impl FnMut(W)) -> Option<W> {
        let place = self.place_of(owner)?;
        let waiter = self.waiting.remove(place).expect("it was just found there");
        self.serve(served);
        Some(waiter.waker)
    }

    /// Grants whatever is free now, from the front.
    fn serve(&mut self, mut served: impl FnMut(W)) {
        let mut ahead = ModeSet::default();
        let mut place = 0;
        while let Some(waiter) = self.waiting.get(place) {
            let (request, ticket) = (waiter.request, waiter.ticket);
            if self.is_free(&request, ahead) {
                let waiter = self.waiting.remove(place).expect("it was just found there");
                self.grant(&request, ticket);
                served(waiter.waker);
            } else {
                ahead = ahead.with(request.mode);
                place += 1;
            }
        }
        self.assert_invariants();
    }

    /// Whether nobody's hold and none of the wishes `ahead` stands against a request.
    fn is_free(&self, request: &Request, ahead: ModeSet) -> bool {
        let conflicting = ModeSet::conflicting(request.mode);
        let wait_for_me = request.held.map_or(ModeSet::default(), ModeSet::conflicting);
        !self.others(request.held).intersects(conflicting)
            && !ahead.minus(wait_for_me).intersects(conflicting)
    }

    /// Modes that are held, leaving out one hold of `mine`.
    fn others(&self, mine: Option<LockMode>) -> ModeSet {
        let mut modes = ModeSet::default();
        for mode in LockMode::ALL {
            if self.counts[mode as usize] > u32::from(mine == Some(mode)) {
                modes = modes.with(mode);
            }
        }
        modes
    }

    fn grant(&mut self, request: &Request, ticket: u64) {
        self.counts[request.mode as usize] += 1;
        if let Some(held) = request.held {
            self.counts[held as usize] -= 1;
            let mut grants = self.granted.iter_mut();
            let grant = grants.find(|grant| grant.owner == request.owner);
            grant.expect("who holds it has a grant").mode = request.mode;
        } else {
            let Request { owner, tag, mode, since, .. } = *request;
            if self.granted.capacity() == 0 {
                // Most names are held by one owner, and some owners hold very many.
                self.granted.reserve_exact(1);
            }
            self.granted.push(Grant { owner, tag, mode, since, ticket });
        }
    }

    /// The place in the order of all who come: a newcomer's is its own, whoever holds the lock keeps the one it has.
    fn ticket_of(&self, request: &Request, newcomer: u64) -> u64 {
        if request.held.is_none() {
            return newcomer;
        }
        let grant = self.granted.iter().find(|grant| grant.owner == request.owner);
        grant.expect("who holds it has a grant").ticket
    }

    fn place_of(&self, owner: OwnerId) -> Option<usize> {
        self.waiting.iter().position(|waiter| waiter.request.owner == owner)
    }

    /// Whether somebody stands behind this waiter.
    pub(super) fn is_last(&self, owner: OwnerId) -> bool {
        self.waiting.back().is_none_or(|waiter| waiter.request.owner == owner)
    }

    /// Whom a waiter waits for, with their tags: holders, then waiters in front. Nobody, if it does not wait.
    pub(super) fn blockers(&self, owner: OwnerId) -> impl Iterator<Item = (OwnerId, u64)> {
        let place = self.place_of(owner);
        let request = place.map(|place| self.waiting[place].request);
        let holders = self.granted.iter().filter(move |grant| {
            request.is_some_and(|request| grant.owner != owner && !request.mode.is_compatible(grant.mode))
        });
        let in_front = self.waiting.iter().take(place.unwrap_or(0)).filter(move |waiter| {
            request.is_some_and(|request| {
                let waits_for_me = request.held.is_some_and(|held| !waiter.request.mode.is_compatible(held));
                !request.mode.is_compatible(waiter.request.mode) && !waits_for_me
            })
        });
        let holders = holders.map(|grant| (grant.owner, grant.tag));
        holders.chain(in_front.map(|waiter| (waiter.request.owner, waiter.request.tag)))
    }

    fn assert_invariants(&self) {
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }

    /// Panics if one of the invariants of the module's head does not hold.
    pub(super) fn check_invariants(&self) {
        for (at, grant) in self.granted.iter().enumerate() {
            for other in &self.granted[at + 1..] {
                assert_ne!(grant.owner, other.owner, "an owner has two grants");
                assert!(grant.mode.is_compatible(other.mode), "{grant:?} beside {other:?}");
            }
        }
        for mode in LockMode::ALL {
            let count = self.granted.iter().filter(|grant| grant.mode == mode).count();
            assert_eq!(self.counts[mode as usize] as usize, count, "{mode:?} is miscounted");
        }
        assert!(self.waiting.iter().is_sorted_by(|a, b| a.ticket < b.ticket), "the queue is out of order");
        for waiter in &self.waiting {
            let Request { owner, held, .. } = waiter.request;
            let grant = self.granted.iter().find(|grant| grant.owner == owner);
            assert_eq!(grant.map(|grant| grant.mode), held, "a waiter holds something else than it believes");
            assert!(self.blockers(owner).next().is_some(), "a waiter could be served");
        }
    }
}

#[cfg(test)]
mod tests;
