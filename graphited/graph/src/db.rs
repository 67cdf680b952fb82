//! The facade: an open graph database.
//!
//! Readers take a [`Snapshot`] and are never in anyone's way. Writers have a [`Transaction`] each, as many as there are;
//! what they look at and change is locked (`locks.rs`), and their commits go through one queue (`commit.rs`). An
//! [`Importer`] locks the whole database for each batch. Names (labels, types, keys, sets of labels) are made by small
//! commits of their own, ahead of use, and locked by nobody: they are never changed.
//!
//! Mutexes, in the order in which they may be taken: `naming`, the store's turn, `spaces`, the catalog's; those of the
//! pools and of the commit queue are short, and nothing else is taken under them but the registry of readers. Locks of
//! the lock manager are waited for with none of these held.
//!
//! Invariants:
//! 1. The catalog in memory is replaced after its commit is published, and before anyone can use the new name. So
//!    whoever takes pages first and the catalog second knows every name in the pages.
//! 2. `spaces` is used within a turn only. If that turn is dropped, its hints are forgotten.
//! 3. Slots are leased from the pools until the commit that uses them is published.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use graphite_store::clock::Clock;
use graphite_store::disk::Disk;
use graphite_store::locks::{LockManager, LockOptions, LockOwner};
use graphite_store::{Lsn, PageReader, PageWriter, Store, StoreOptions, Turn};

use crate::apply::Spaces;
use crate::catalog::Catalog;
use crate::check::{self, CheckReport, Progress};
use crate::commit::{CommitCounts, CommitQueue, Continuation, Work};
use crate::importer::Importer;
use crate::leases::Pools;
use crate::locks::TransactionLocks;
use crate::page_view::PageView;
use crate::state;
use crate::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use crate::transaction::Transaction;
use crate::view::View;
use crate::write_set::WRITE_SET_MEMORY_BYTES;
use crate::{KeyId, LabelId, LabelSetId, Result, TypeId, tokens};

/// Version of the graph's layout in the store's pages.
pub const GRAPH_FORMAT: u64 = 1;

/// Names that are made by one commit, and their bytes.
const NAMES_MAX: usize = 1024;
const NAMES_BYTES_MAX: usize = 256 << 10;

/// The newest durable graph at one moment: owned, never changing, in nobody's way.
pub type Snapshot = PageView<graphite_store::Snapshot>;

/// An open graph database. Cheap to clone; all clones are the same one.
#[derive(Clone)]
pub struct GraphDb {
    inner: Arc<Inner>,
}

struct Inner {
    // Synchronise themselves.
    store: Store,
    locks: LockManager,
    commits: CommitQueue,
    pools: Pools,
    /// Whether reads of transactions take locks; see [`GraphDb::lock_reads`].
    locks_reads: AtomicBool,
    /// See [`GraphDb::set_write_set_memory_bytes`].
    write_set_memory_bytes: AtomicU64,
    // Guarded by their locks.
    catalog: RwLock<Arc<Catalog>>,
    naming: Mutex<()>,
    spaces: Mutex<Spaces>,
}

/// What is counted without a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphStatus {
    /// Nodes.
    pub nodes: u64,
    /// Edges.
    pub edges: u64,
    /// Names of labels.
    pub labels: u32,
    /// Names of edge types.
    pub types: u32,
    /// Names of property keys.
    pub keys: u32,
}

impl fmt::Debug for GraphDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphDb").field("path", &self.inner.store.path()).finish_non_exhaustive()
    }
}

impl GraphDb {
    /// Opens the database at `path`, or makes it if the options say so. Starts no threads; see `Store::start_threads`.
    ///
    /// # Errors
    /// Of the store; `FormatVersion` for a graph of another layout.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        path: &Path,
        options: StoreOptions,
    ) -> Result<GraphDb> {
        GraphDb::over(Store::open(disk, clock, path, options)?)
    }

    /// The graph in an open store.
    ///
    /// # Errors
    /// As [`GraphDb::open`].
    pub fn over(store: Store) -> Result<GraphDb> {
        let found = store.pin().state(state::GRAPH_FORMAT)?;
        if found == 0 {
            let mut turn = store.turn()?;
            turn.set_state(state::GRAPH_FORMAT, GRAPH_FORMAT)?;
            turn.commit()?;
        } else {
            check::is_known_format(&store, &store.pin())?;
        }
        let catalog = Arc::new(Catalog::load(&store.pin())?);
        Ok(GraphDb {
            inner: Arc::new(Inner {
                store,
                locks: LockManager::new(LockOptions::default()),
                commits: CommitQueue::default(),
                pools: Pools::default(),
                locks_reads: AtomicBool::new(true),
                write_set_memory_bytes: AtomicU64::new(WRITE_SET_MEMORY_BYTES),
                catalog: RwLock::new(catalog),
                naming: Mutex::new(()),
                spaces: Mutex::new(Spaces::default()),
            }),
        })
    }

    /// The floor below: for durability ([`Store::when_visible`]), checkpoints, status and closing.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The newest durable graph.
    ///
    /// # Errors
    /// Of the store.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let pages = self.inner.store.snapshot()?;
        Ok(PageView::new(pages, self.catalog()))
    }

    /// The newest applied graph, durable or not.
    pub(crate) fn pin(&self) -> Snapshot {
        let pages = self.inner.store.pin();
        PageView::new(pages, self.catalog())
    }

    /// Begins a write transaction. Others may be open.
    ///
    /// # Errors
    /// None today.
    pub fn begin(&self) -> Result<Transaction> {
        self.begin_tagged(0)
    }

    /// As [`GraphDb::begin`]. The lock manager's pictures and reports of deadlocks call the transaction by `tag`.
    ///
    /// # Errors
    /// None today.
    pub fn begin_tagged(&self, tag: u64) -> Result<Transaction> {
        let locks_reads = self.inner.locks_reads.load(Ordering::Relaxed);
        Ok(Transaction::new(self.clone(), TransactionLocks::new(self.inner.locks.owner(tag), locks_reads)))
    }

    /// Begins an import, or goes on with one.
    pub fn import(&self) -> Importer {
        self.import_tagged(0)
    }

    /// As [`GraphDb::import`]. The lock manager's pictures call it by `tag`.
    pub fn import_tagged(&self, tag: u64) -> Importer {
        Importer::new(self.clone(), self.lock_owner(tag))
    }

    /// Who has locked what, and who waits for whom.
    pub fn locks(&self) -> &LockManager {
        &self.inner.locks
    }

    /// With `false`, transactions that begin from now on take no locks for what they only read. They are then not
    /// serializable: it is for tests, to show that the locks are what makes them so.
    #[doc(hidden)]
    pub fn lock_reads(&self, on: bool) {
        self.inner.locks_reads.store(on, Ordering::Relaxed);
    }

    /// How many bytes of the values that it has set a transaction keeps in memory, of those that begin from now on. Those
    /// that come after them are written to a file beside the log, which has no name and ends with the transaction.
    pub fn set_write_set_memory_bytes(&self, bytes: u64) {
        self.inner.write_set_memory_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn write_set_memory_bytes(&self) -> u64 {
        self.inner.write_set_memory_bytes.load(Ordering::Relaxed)
    }

    /// Commits that were applied, and the groups that they were written as.
    pub fn commit_counts(&self) -> CommitCounts {
        self.inner.commits.counts()
    }

    /// Whether the commit of this token is applied: then an LSN that it is at or below. Whoever is told waits until that
    /// is visible. `None` as of [`GraphDb::commit_status`].
    ///
    /// # Errors
    /// As [`GraphDb::commit_status`].
    pub fn commit_status_applied(&self, token: &[u8]) -> Result<Option<Lsn>> {
        tokens::check_token(token)?;
        let pin = self.inner.store.pin();
        Ok(tokens::is_known(&pin, token)?.then(|| pin.lsn()))
    }

    /// Whether the commit of this token happened and is durable: then an LSN that it is at or below, all of which is
    /// visible. `None` also if [`tokens::TOKENS_MAX`] commits with tokens came after it.
    ///
    /// # Errors
    /// Of the store; `EmptyName` or `TooLong` for what is no token.
    pub fn commit_status(&self, token: &[u8]) -> Result<Option<Lsn>> {
        tokens::check_token(token)?;
        let snapshot = self.inner.store.snapshot()?;
        Ok(tokens::is_known(&snapshot, token)?.then_some(snapshot.lsn()))
    }

    /// What is counted without a walk.
    ///
    /// # Errors
    /// Of the store.
    pub fn status(&self) -> Result<GraphStatus> {
        let snapshot = self.snapshot()?;
        let catalog = snapshot.catalog();
        Ok(GraphStatus {
            nodes: snapshot.node_count()?,
            edges: snapshot.edge_count()?,
            labels: catalog.label_count(),
            types: catalog.type_count(),
            keys: catalog.key_count(),
        })
    }

    /// Reads the whole database as it is durable now, and reports every contradiction. It takes from the cache what is
    /// there, and puts nothing in.
    ///
    /// # Errors
    /// Of the store, if no snapshot can be had, or it became too old, or a page could not be read: nothing is known
    /// then.
    pub fn check(&self) -> Result<CheckReport> {
        self.check_until(&AtomicBool::new(false))
    }

    /// As [`GraphDb::check`], until somebody raises `stop`.
    ///
    /// # Errors
    /// As [`GraphDb::check`]; `Interrupted`.
    pub fn check_until(&self, stop: &AtomicBool) -> Result<CheckReport> {
        let snapshot = self.snapshot()?;
        check::check(snapshot.reader(), snapshot.known(), stop, &Progress::new(&|_, _| {}))
    }

    /// All names, newest first made included.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.inner.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The label of that name; made if there is none.
    ///
    /// # Errors
    /// Of the store, and for names that nothing can have.
    pub fn label_id_or_create(&self, name: &str) -> Result<LabelId> {
        self.name(|catalog| catalog.label_id(name), |catalog, turn| catalog.add_label(turn, name))
    }

    /// The edge type of that name; made if there is none.
    ///
    /// # Errors
    /// Of the store, and for names that nothing can have.
    pub fn type_id_or_create(&self, name: &str) -> Result<TypeId> {
        self.name(|catalog| catalog.type_id(name), |catalog, turn| catalog.add_type(turn, name))
    }

    /// The property key of that name; made if there is none.
    ///
    /// # Errors
    /// Of the store, and for names that nothing can have.
    pub fn key_id_or_create(&self, name: &str) -> Result<KeyId> {
        self.name(|catalog| catalog.key_id(name), |catalog, turn| catalog.add_key(turn, name))
    }

    /// The set of these labels (sorted, none twice); made if there is none.
    ///
    /// # Errors
    /// Of the store; `TooMany`.
    pub fn label_set_or_create(&self, labels: &[LabelId]) -> Result<LabelSetId> {
        self.name(|catalog| catalog.label_set(labels), |catalog, turn| catalog.add_label_set(turn, labels))
    }

    /// The labels of these names; those that are not there are made, many of them by one commit.
    ///
    /// # Errors
    /// As [`GraphDb::label_id_or_create`]; some of the names may have been made then.
    pub fn label_ids_or_create(&self, names: &[&str]) -> Result<Vec<LabelId>> {
        self.names(
            names,
            |catalog, name| catalog.label_id(name),
            |catalog, turn, name| catalog.add_label(turn, name),
        )
    }

    /// As [`GraphDb::label_ids_or_create`], of edge types.
    ///
    /// # Errors
    /// As [`GraphDb::label_ids_or_create`].
    pub fn type_ids_or_create(&self, names: &[&str]) -> Result<Vec<TypeId>> {
        self.names(
            names,
            |catalog, name| catalog.type_id(name),
            |catalog, turn, name| catalog.add_type(turn, name),
        )
    }

    /// As [`GraphDb::label_ids_or_create`], of property keys.
    ///
    /// # Errors
    /// As [`GraphDb::label_ids_or_create`].
    pub fn key_ids_or_create(&self, names: &[&str]) -> Result<Vec<KeyId>> {
        self.names(
            names,
            |catalog, name| catalog.key_id(name),
            |catalog, turn, name| catalog.add_key(turn, name),
        )
    }

    /// A new catalog costs a copy of the dictionary, so names are made many at a time; but no more than fit well into
    /// one group of the log.
    fn names<T>(
        &self,
        names: &[&str],
        known: impl Fn(&Catalog, &str) -> Option<T>,
        add: impl Fn(&mut Catalog, &mut Turn<'_>, &str) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut ids = Vec::with_capacity(names.len());
        let mut rest = names;
        while !rest.is_empty() {
            let catalog = self.catalog();
            let before = ids.len();
            ids.extend(rest.iter().map_while(|name| known(&catalog, name)));
            rest = &rest[ids.len() - before..];
            let mut bytes = 0;
            let fits = |name: &&&str| {
                bytes += name.len();
                bytes <= NAMES_BYTES_MAX
            };
            // A name that does not fit by itself is refused by the catalog.
            let some = &rest[..rest.iter().take(NAMES_MAX).take_while(fits).count().max(1).min(rest.len())];
            let add_all = |catalog: &mut Catalog, turn: &mut Turn<'_>| {
                some.iter().map(|name| add(catalog, turn, name)).collect::<Result<Vec<T>>>()
            };
            if !some.is_empty() {
                ids.extend(self.name(|_| None, add_all)?);
            }
            rest = &rest[some.len()..];
        }
        Ok(ids)
    }

    fn name<T>(
        &self,
        known: impl Fn(&Catalog) -> Option<T>,
        add: impl FnOnce(&mut Catalog, &mut Turn<'_>) -> Result<T>,
    ) -> Result<T> {
        if let Some(id) = known(&self.catalog()) {
            return Ok(id);
        }
        // A thread that panicked while it made a name left nothing half done: its turn was dropped.
        let _naming = self.inner.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let mut catalog = Catalog::clone(&self.catalog());
        if let Some(id) = known(&catalog) {
            return Ok(id);
        }
        let mut turn = self.inner.store.turn()?;
        let id = add(&mut catalog, &mut turn)?;
        turn.commit()?;
        *self.inner.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
        Ok(id)
    }

    /// Somebody who takes locks.
    pub(crate) fn lock_owner(&self, tag: u64) -> LockOwner {
        self.inner.locks.owner(tag)
    }

    /// Free slots.
    pub(crate) fn pools(&self) -> &Pools {
        &self.inner.pools
    }

    /// Applies a write set, alone or in a group with others, and settles its leases and locks.
    pub(crate) fn commit(&self, work: Work) -> Result<Lsn> {
        self.inner.commits.commit(self, work)
    }

    /// Leaves a write set to be applied by others; see [`CommitQueue::leave`].
    pub(crate) fn leave(&self, work: Work, then: Box<dyn Continuation>) {
        self.inner.commits.leave(work, then);
    }

    /// Applies what was left ([`Transaction::leave`]), unless another thread is at it, and not what is left meanwhile. With
    /// `true` there is still some of it, and this has to be called again.
    pub fn apply_waiting(&self) -> bool {
        self.inner.commits.apply_waiting(self)
    }

    /// What is known about free space: for whoever has a turn.
    pub(crate) fn spaces(&self) -> MutexGuard<'_, Spaces> {
        self.inner.spaces.lock().unwrap_or_else(|poisoned| {
            self.inner.spaces.clear_poison();
            let mut spaces = poisoned.into_inner();
            spaces.forget();
            spaces
        })
    }

    /// Runs one batch in a bulk turn of its own.
    pub(crate) fn bulk(&self, work: impl FnOnce(&mut Turn<'_>, &mut Spaces) -> Result<()>) -> Result<Lsn> {
        let mut turn = self.inner.store.turn_bulk()?;
        let mut spaces = self.spaces();
        let done = work(&mut turn, &mut spaces).and_then(|()| Ok(turn.commit()?));
        if done.is_err() {
            spaces.forget();
        }
        done
    }
}
