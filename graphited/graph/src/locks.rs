//! Which logical locks the graph's nodes, edges, labels and types have, and the locks that one transaction holds.
//!
//! A node or an edge is a slot of its table; its lock covers its record and, of a node, its adjacency, for these have no
//! other owner. A label is a space of its own: whoever scans it holds it, and whoever adds to it, takes from it or changes
//! the label set of a member announces that there. The same goes for the type of an edge.
//!
//! | operation | locks |
//! |---|---|
//! | look at a node, or its edges; that it is not there is a look too | S on its slot |
//! | look at an edge | S on its slot. Its ends and their ids cannot change while it is there |
//! | scan or count all nodes, or all edges | S on the table |
//! | scan a label, or a type | S on it |
//! | create or delete a node, add or remove a label | X on its slot, IX on all labels that it has before or after |
//! | set properties | X on the slot |
//! | create or delete an edge | X on the slots of both ends, X on its slot, IX on its type |
//!
//! A label, type or key that a transaction looks for and that nobody has used yet is made, for it has to have its lock
//! before others use it ([`crate::View::label_named`]).
//!
//! With [`ReadIntent::Update`] a look takes U, and a scan SIX or U: two who look for the same thing to change it queue up,
//! instead of each waiting for the other's S.
//!
//! Invariants:
//! 1. A transaction lets go of its locks all at once, and takes none after that.
//! 2. Whoever takes several at a time takes nodes before edges and low slots before high ones, so that two single
//!    operations never wait for each other in a circle; several operations of one transaction may.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use graphite_store::locks::{LockCanceller, LockMode, LockName, LockOwner, OwnerId, SpaceId, Taken};

use crate::catalog::{NAMES_MAX, TYPES_MAX};
use crate::edges::EDGES_PER_PAGE;
use crate::nodes::NODES_PER_PAGE;
use crate::{EdgeSlot, LabelId, NodeSlot, Result, TypeId};

/// The node table.
pub const NODE_SPACE: SpaceId = SpaceId(0);
/// The edge table.
pub const EDGE_SPACE: SpaceId = SpaceId(1);
/// The first label; the others follow it.
pub const LABEL_SPACES: u32 = 1 << 30;
/// The first edge type; the others follow it.
pub const TYPE_SPACES: u32 = 2 << 30;
const _: () = assert!(LABEL_SPACES + NAMES_MAX <= TYPE_SPACES && TYPE_SPACES + TYPES_MAX > TYPE_SPACES);

/// The name of a node's lock.
pub fn node_lock(slot: NodeSlot) -> LockName {
    LockName::Slot { space: NODE_SPACE, page: slot.0 / NODES_PER_PAGE as u64, slot: slot.0 }
}

/// The name of an edge's lock.
pub fn edge_lock(slot: EdgeSlot) -> LockName {
    LockName::Slot { space: EDGE_SPACE, page: slot.0 / EDGES_PER_PAGE as u64, slot: slot.0 }
}

/// The name of a label's lock.
pub fn label_lock(label: LabelId) -> LockName {
    LockName::Space(SpaceId(LABEL_SPACES + label.0))
}

/// The name of an edge type's lock.
pub fn type_lock(type_: TypeId) -> LockName {
    LockName::Space(SpaceId(TYPE_SPACES + type_.0))
}

/// What reads are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadIntent {
    /// To know.
    #[default]
    Share,
    /// To find what will be changed.
    Update,
}

/// The locks of one transaction. Reads take locks too, and read through a shared reference.
pub(crate) struct TransactionLocks {
    owner: RefCell<LockOwner>,
    intent: Cell<ReadIntent>,
    /// Whether reads take locks. Only tests that show what would happen else say no.
    locks_reads: bool,
    /// A lock was taken since [`TransactionLocks::take_news`].
    has_news: Cell<bool>,
}

impl TransactionLocks {
    pub(crate) fn new(owner: LockOwner, locks_reads: bool) -> TransactionLocks {
        TransactionLocks {
            owner: RefCell::new(owner),
            intent: Cell::new(ReadIntent::Share),
            locks_reads,
            has_news: Cell::new(false),
        }
    }

    pub(crate) fn id(&self) -> OwnerId {
        self.owner.borrow().id()
    }

    pub(crate) fn held(&self) -> usize {
        self.owner.borrow().held()
    }

    pub(crate) fn waited(&self) -> Duration {
        self.owner.borrow().waited()
    }

    pub(crate) fn canceller(&self) -> LockCanceller {
        self.owner.borrow().canceller()
    }

    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.owner.get_mut().set_timeout(timeout);
    }

    pub(crate) fn set_statement(&mut self, statement: Arc<str>) {
        self.owner.get_mut().set_statement(statement);
    }

    /// Returns what it was before.
    pub(crate) fn set_intent(&self, intent: ReadIntent) -> ReadIntent {
        self.intent.replace(intent)
    }

    /// Lets go of everything. Nothing is taken after that.
    pub(crate) fn release(&self) {
        self.owner.borrow_mut().release_all();
    }

    /// Whether a lock was taken since this was asked last: what is read next has to be at least as new as that lock.
    pub(crate) fn has_news(&self) -> bool {
        self.has_news.get()
    }

    /// What is read from now on is as new as the locks.
    pub(crate) fn forget_news(&self) {
        self.has_news.set(false);
    }

    /// Takes a lock; before it waits for it, calls `before_waiting`.
    ///
    /// # Errors
    /// [`crate::Error::Lock`].
    pub(crate) fn take(&self, name: LockName, mode: LockMode, before_waiting: impl FnOnce()) -> Result<()> {
        let mut owner = self.owner.borrow_mut();
        let taken = match owner.try_lock(name, mode) {
            Some(taken) => taken,
            None => {
                before_waiting();
                owner.lock(name, mode)?
            }
        };
        if taken != Taken::Held {
            self.has_news.set(true);
        }
        Ok(())
    }

    /// Takes a lock if nobody is in the way.
    pub(crate) fn try_take(&self, name: LockName, mode: LockMode) -> bool {
        let taken = self.owner.borrow_mut().try_lock(name, mode);
        if matches!(taken, Some(Taken::New | Taken::Waited)) {
            self.has_news.set(true);
        }
        taken.is_some()
    }

    /// The mode in which a node or an edge is read; none if reads take no locks.
    pub(crate) fn mode_of_look(&self) -> Option<LockMode> {
        match (self.locks_reads, self.intent.get()) {
            (false, _) => None,
            (true, ReadIntent::Share) => Some(LockMode::Shared),
            (true, ReadIntent::Update) => Some(LockMode::Update),
        }
    }

    /// The mode in which a table is scanned: whoever changes what is found needs an intent there anyway.
    pub(crate) fn mode_of_table_scan(&self) -> Option<LockMode> {
        match (self.locks_reads, self.intent.get()) {
            (false, _) => None,
            (true, ReadIntent::Share) => Some(LockMode::Shared),
            (true, ReadIntent::Update) => Some(LockMode::SharedIntentExclusive),
        }
    }

    /// The mode in which a label or a type is scanned. What is found may well keep its label, so other scans go on.
    pub(crate) fn mode_of_scan(&self) -> Option<LockMode> {
        self.mode_of_look()
    }
}
