//! Made-up pictures for tests.

use graphite_client::messages::{
    CheckpointPhase, Counters, Deadlock, Durability, Lock, LockMode, Picture, Session, SessionState,
    SlowStatement, Storage, Timeouts,
};

use crate::scene::Scene;

/// 2026-01-02 14:03:07 UTC.
const AT_MS: u64 = 1_767_362_587_000;

fn status() -> graphite_client::StatusReply {
    graphite_client::StatusReply {
        version: "0.1.0".into(),
        pid: 77,
        uptime_ms: 273_600_000,
        database: "/data/social.graphite".into(),
        format_version: 1,
        durability: Durability::On,
        read_only: false,
        poisoned: None,
        nodes: 131_072,
        edges: 1_860_000,
        sessions: 42,
        sessions_max: 200,
        transactions: 5,
        file_bytes: 0,
        wal_bytes: 0,
        wal_used_bytes: 0,
        pages: 0,
        pages_free: 0,
        cache_bytes: 0,
        cache_bytes_max: 0,
        cache_misses: 0,
        dirty_pages: 0,
        visible_lsn: 0,
        applied_lsn: 0,
        durable_lsn: 0,
        horizon_lsn: 0,
        checkpoint_lsn: 0,
        checkpoint_at_ms: None,
        checkpoints: 3,
        commits: 1000,
        aborts: 4,
        deadlocks: 3,
        syncs: 900,
        statements: 5000,
    }
}

/// A session.
pub fn session(session: u64, user: &str, client: &str, state: SessionState, blocked_by: &[u64]) -> Session {
    let waits = !blocked_by.is_empty();
    Session {
        session,
        pid: 20_000 + u32::try_from(session).unwrap_or(0),
        uid: 1000,
        user: Some(user.into()),
        client: client.into(),
        state,
        connected_ms: 900_000,
        transaction: (state != SessionState::Idle).then_some(session + 100),
        mode: None,
        transaction_ms: (state != SessionState::Idle).then_some(41_000),
        snapshot_lsn: None,
        statement: (state != SessionState::Idle).then(|| "node $who | set name".into()),
        statement_ms: Some(41_000),
        waits_for: waits.then(|| "S node 8812".into()),
        wait_ms: waits.then_some(41_200),
        blocked_by: blocked_by.to_vec(),
        locks: 1,
        requests: 0,
        outbox_bytes: 0,
        statement_number: 1,
        awaits_admission: false,
        rollback_in_ms: None,
        wait_ends_in_ms: None,
        is_admin: false,
        is_reserved: false,
    }
}

fn lock(name: &str, mode: LockMode, granted: bool, session: u64) -> Lock {
    Lock { name: name.into(), mode, granted, session, transaction: session + 100, for_ms: 41_200 }
}

fn picture(sessions: Vec<Session>, locks: Vec<Lock>) -> Picture {
    let mut storage = Storage {
        file_bytes: 96 << 20,
        pages: 12_288,
        pages_free: 410,
        wal_bytes: 256 << 20,
        wal_used_bytes: 212 << 20,
        wal_bytes_max: 256 << 20,
        cache_bytes: 240 << 20,
        cache_bytes_max: 256 << 20,
        pages_dirty: 1200,
        pages_resident: 30_000,
        ..Storage::default()
    };
    storage.checkpoint.phase = CheckpointPhase::Writing;
    (storage.checkpoint.pages_done, storage.checkpoint.pages_total) = (710, 1000);
    Picture {
        at_ms: AT_MS,
        took_us: 400,
        status: status(),
        locks_held: 318,
        locks_awaited: sessions.iter().filter(|row| row.wait_ms.is_some()).count() as u64,
        sessions,
        writers: Vec::new(),
        locks,
        deadlocks: Vec::new(),
        storage,
        compaction: None,
        slow_statements: Vec::new(),
        counters: Counters { commits: 1000, ..Counters::default() },
        timeouts: Timeouts { idle_in_transaction_ms: Some(900_000), ..Timeouts::default() },
    }
}

/// A daemon with nobody there.
pub fn quiet() -> Scene {
    Scene::new(picture(Vec::new(), Vec::new()), None)
}

/// One session in the way of three, one of them of another; a deadlock and a slow statement.
pub fn chain() -> Scene {
    let mut sessions = vec![
        session(17, "alice", "etl", SessionState::IdleInTransaction, &[]),
        session(31, "bob", "api", SessionState::Waiting, &[17]),
        session(44, "bob", "api", SessionState::Waiting, &[31]),
        session(52, "dave", "api", SessionState::Waiting, &[17]),
        session(60, "eve", "shell", SessionState::Idle, &[]),
        session(61, "eve\u{202e}", "sh\x1b[2J", SessionState::Active, &[]),
    ];
    sessions[0].transaction_ms = Some(723_000);
    sessions[0].rollback_in_ms = Some(177_000);
    sessions[2].wait_ms = Some(30_000);
    sessions[2].waits_for = Some("X index Person(name), key Ada".into());
    sessions[3].wait_ms = Some(3100);
    let mut picture = picture(
        sessions,
        vec![
            lock("node 8812 :Person", LockMode::Exclusive, true, 17),
            lock("node 8812 :Person", LockMode::Shared, false, 31),
            lock("node 8812 :Person", LockMode::Shared, false, 52),
            lock("page 40, node slots 10,160-10,413", LockMode::IntentExclusive, true, 17),
        ],
    );
    picture.deadlocks = vec![Deadlock {
        at_ms: AT_MS - 9000,
        sessions: vec![61, 72],
        waits_for: vec!["X node 1".into(), "X node 2".into()],
        statements: vec!["node $a | set x".into(), "node $b | set x".into()],
        victim: 72,
        pids: vec![1, 2],
        users: vec!["eve".into(), "bob".into()],
        clients: vec!["shell".into(), "api".into()],
    }];
    picture.slow_statements = vec![SlowStatement {
        at_ms: AT_MS - 60_000,
        session: 31,
        pid: 9,
        uid: 1000,
        user: Some("bob".into()),
        client: "api".into(),
        transaction: None,
        statement: "nodes :Person | expand out KNOWS | distinct".into(),
        took_ms: 2500,
        wait_ms: Some(100),
        rows: Some(12),
        error: None,
    }];
    Scene::new(picture, None)
}

/// So many sessions and locks; a hundred chains of ten.
pub fn large(sessions: u64, locks: u64) -> Scene {
    let row = |number: u64| {
        let waits = number < 1000 && !number.is_multiple_of(10);
        let blockers = if waits { vec![number - 1] } else { Vec::new() };
        session(
            number,
            "user",
            "client",
            if waits { SessionState::Waiting } else { SessionState::Active },
            &blockers,
        )
    };
    let of = |number: u64| lock(&format!("node {number} :Person"), LockMode::Shared, true, number % sessions);
    Scene::new(picture((0..sessions).map(row).collect(), (0..locks).map(of).collect()), None)
}
