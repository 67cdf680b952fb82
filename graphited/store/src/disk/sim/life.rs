//! One life of a simulated disk, from its start to its crash: what outlives it, and what ends with it.
//!
//! Invariants:
//! 1. [`State`] holds all that a crash may leave; copying it costs a reference count per file. All else in
//!    [`Life`] (locks, handles, faults, counters) ends with the life.
//! 2. Whatever changes the disk goes through [`Life::change`]: the one place that numbers, crashes and fails.
//! 3. A dead life answers every call with an error and changes nothing any more.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::fault::{Counters, Faults, LastOp, Op, OpKind, TRACE_OPERATIONS_MAX, crashed};
use super::inode::Inode;
use super::names::Names;
use super::outcome::{Chooser, Outcome};

/// What a disk holds, durable or not.
#[derive(Clone, Default)]
pub(super) struct State {
    inodes: BTreeMap<u64, Arc<Inode>>,
    pub(super) names: Names,
    next_inode: u64,
    next_sequence: u64,
    /// Bytes of room on the disk; none if it is endless.
    pub(super) capacity: Option<u64>,
    /// What the next draw gives, if a test said so.
    pub(super) next_draw: Option<u64>,
}

impl State {
    /// The number under which the next change is known; it says which of two is newer.
    pub(super) fn sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    /// Adds a file that has no name yet.
    pub(super) fn add(&mut self, inode: Inode) -> u64 {
        self.next_inode += 1;
        self.inodes.insert(self.next_inode, Arc::new(inode));
        self.next_inode
    }

    /// Number of files, with and without a name.
    #[cfg(test)]
    pub(super) fn files_held(&self) -> usize {
        self.inodes.len()
    }

    pub(super) fn inode(&self, number: u64) -> &Inode {
        self.inodes.get(&number).expect("an inode lives as long as a name or a handle leads to it")
    }

    pub(super) fn inode_mut(&mut self, number: u64) -> &mut Inode {
        let inode =
            self.inodes.get_mut(&number).expect("an inode lives as long as a name or a handle leads to it");
        Arc::make_mut(inode)
    }

    /// What a crash of the process leaves: everything, durable or not, but files that no name leads to.
    pub(super) fn after_process_crash(&self) -> State {
        let mut left = self.clone();
        let reachable = left.names.reachable();
        left.inodes.retain(|number, _| reachable.contains(number));
        left
    }

    /// What a power cut leaves.
    pub(super) fn after_power_cut(&self, outcome: Outcome) -> State {
        let reachable = self.names.reachable();
        let newest = reachable.iter().filter_map(|&number| self.inode(number).last_unsynced()).max();
        let mut chooser = Chooser::new(outcome, newest.max(self.names.last_unsynced()));
        let names = self.names.after_power_cut(&mut chooser);
        let left = names.files().map(|(_, number)| {
            let inode = self.inode(number).after_power_cut(&mut chooser);
            (number, Arc::new(inode))
        });
        let inodes = left.collect();
        State { inodes, names, ..self.clone() }
    }
}

/// A disk from start to crash.
#[derive(Default)]
pub(super) struct Life {
    pub(super) state: State,
    pub(super) dead: bool,
    /// Number of operations so far.
    pub(super) operations: u64,
    /// The operation at which to die, and whether it is still done.
    pub(super) crash: Option<(u64, LastOp)>,
    pub(super) faults: Faults,
    pub(super) counters: Counters,
    pub(super) trace: VecDeque<Op>,
    /// The states after each operation, if a test asked for them.
    pub(super) history: Option<Vec<State>>,
    /// Which handle holds the lock of which inode.
    pub(super) locks: BTreeMap<u64, u64>,
    /// How many handles an inode has.
    handles: BTreeMap<u64, u64>,
    next_handle: u64,
}

impl Life {
    pub(super) fn of(state: State) -> Life {
        Life { state, ..Life::default() }
    }

    pub(super) fn alive(&self) -> io::Result<()> {
        if self.dead { Err(crashed()) } else { Ok(()) }
    }

    /// Looks at what is there, or fails to.
    pub(super) fn look(&mut self, path: &Path) -> io::Result<()> {
        self.alive()?;
        self.counters.count(OpKind::Look, 0);
        self.faults.strike(OpKind::Look, path, 0, 0).map_or(Ok(()), Err)
    }

    /// Does, fails or dies at an operation that changes the disk. `change` gets the life and the change's
    /// sequence number; `on_fault` is what the failed operation does to the disk all the same.
    pub(super) fn change<T>(
        &mut self,
        op: (OpKind, &Arc<Path>, u64, u64),
        change: impl FnOnce(&mut Life, u64) -> io::Result<T>,
        on_fault: impl FnOnce(&mut Life),
    ) -> io::Result<T> {
        self.alive()?;
        let (kind, path, offset, len) = op;
        let index = self.operations;
        self.operations += 1;
        self.counters.count(kind, len);
        if self.trace.len() == TRACE_OPERATIONS_MAX {
            self.trace.pop_front();
        }
        self.trace.push_back(Op { index, kind, path: Arc::clone(path), offset, len });

        let sequence = self.state.sequence();
        if let Some((last, how)) = self.crash
            && index >= last
        {
            if how == LastOp::Applied {
                // Nobody is left to hear whether it succeeded.
                let _unheard = change(self, sequence);
            }
            self.dead = true;
            return Err(crashed());
        }
        let result = match self.faults.strike(kind, path, offset, len) {
            None => change(self, sequence),
            Some(error) => {
                on_fault(self);
                Err(error)
            }
        };
        if let Some(history) = &mut self.history {
            history.push(self.state.clone());
        }
        result
    }

    /// Whether so many more bytes fit on the disk.
    pub(super) fn claim(&self, bytes: u64) -> io::Result<()> {
        let Some(capacity) = self.state.capacity else {
            return Ok(());
        };
        if bytes > 0 && self.used() + bytes > capacity {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the simulated disk is full"));
        }
        Ok(())
    }

    /// Bytes of room taken by files that have a name or a handle.
    pub(super) fn used(&self) -> u64 {
        let named = self.state.names.files().map(|(_, inode)| inode);
        let mut live: Vec<u64> = named.chain(self.handles.keys().copied()).collect();
        live.sort_unstable();
        live.dedup();
        live.into_iter().map(|inode| self.state.inode(inode).cache().allocated()).sum()
    }

    /// Counts a new handle, and gives it its number.
    pub(super) fn open(&mut self, inode: u64) -> u64 {
        *self.handles.entry(inode).or_default() += 1;
        self.next_handle += 1;
        self.next_handle
    }

    /// Forgets the files that neither a name nor a handle leads to.
    pub(super) fn forget_unreachable(&mut self) {
        let reachable = self.state.names.reachable();
        let handles = &self.handles;
        self.state.inodes.retain(|number, _| reachable.contains(number) || handles.contains_key(number));
    }

    /// Ends a handle, and the lock that it holds.
    pub(super) fn close(&mut self, inode: u64, handle: u64) {
        if self.locks.get(&inode) == Some(&handle) {
            self.locks.remove(&inode);
        }
        if let Some(count) = self.handles.get_mut(&inode) {
            *count -= 1;
            if *count == 0 {
                self.handles.remove(&inode);
                self.forget_unreachable();
            }
        }
    }
}
