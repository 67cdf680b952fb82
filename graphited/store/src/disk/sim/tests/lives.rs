//! Crashes: what ends with a life, and what the next one finds.

use super::*;

#[test]
fn what_was_not_synced_outlives_the_process_and_is_still_not_synced() {
    let disk = disk();
    let a = create(&disk, A);
    a.write_at(b"synced", 0).unwrap();
    a.sync().unwrap();
    sync_dir(&disk);
    a.write_at(b"later!", 0).unwrap();
    create(&disk, B);

    let second = disk.process_crash();
    assert_eq!(second.read_file(A).unwrap(), b"later!");
    assert_eq!(second.files(), [Path::new(A), Path::new(B)]);
    let third = second.process_crash();
    assert_eq!(third.read_file(A).unwrap(), b"later!");
    let after_cut = third.power_cut(Outcome::LoseAll);
    assert_eq!(after_cut.read_file(A).unwrap(), b"synced");
    assert_eq!(after_cut.files(), [Path::new(A)]);
}

#[test]
fn the_next_process_can_sync_what_the_last_one_wrote() {
    let disk = disk();
    create(&disk, A).write_at(b"later", 0).unwrap();
    let disk = disk.process_crash();
    open(&disk, A).sync().unwrap();
    sync_dir(&disk);
    assert_eq!(disk.power_cut(Outcome::LoseAll).read_file(A).unwrap(), b"later");
}

/// Every call of a dead life has to fail, so that the code under test cannot go on unnoticed.
#[test]
fn a_dead_disk_answers_nothing() {
    for cut in [true, false] {
        let disk = disk();
        let a = create(&disk, A);
        a.write_at(&[1], 0).unwrap();
        assert!(a.try_lock().unwrap());
        let next = if cut { disk.power_cut(Outcome::KeepAll) } else { disk.process_crash() };
        let before = disk.ops();
        let path = Path::new(A);
        let results = [
            a.read_at(&mut [0], 0),
            a.write_at(&[2], 0),
            a.sync(),
            a.len().map(drop),
            a.set_len(9),
            a.reserve(0, 9),
            a.try_lock().map(drop),
            a.links().map(drop),
            disk.open(path, OpenMode::Existing).map(drop),
            disk.open(Path::new(B), OpenMode::CreateNew).map(drop),
            disk.create_dir(Path::new("/other")),
            disk.list(Path::new(DIR)).map(drop),
            disk.rename(path, Path::new(B)),
            disk.remove(path),
            disk.sync_dir(Path::new(DIR)),
            disk.exists(path).map(drop),
        ];
        for result in results {
            assert_eq!(result.unwrap_err().to_string(), SIMULATED_CRASH);
        }
        assert!(disk.is_dead() && !next.is_dead());
        assert_eq!(disk.ops(), before);
        assert_eq!(next.read_file(A).unwrap(), [1]);
        assert!(open(&next, A).try_lock().unwrap(), "locks end with the life");
        drop(a);
        assert_eq!(next.read_file(A).unwrap(), [1], "a dead handle's end means nothing to the next life");
    }
}

#[test]
fn one_dead_disk_gives_every_outcome() {
    let disk = disk();
    create(&disk, A);
    assert_eq!(disk.power_cut(Outcome::LoseAll).files().len(), 0);
    assert_eq!(disk.power_cut(Outcome::KeepAll).files().len(), 1);
    assert_eq!(disk.process_crash().files().len(), 1);
}

#[test]
fn a_fork_and_its_origin_do_not_see_each_other() {
    let disk = disk();
    let a = create(&disk, A);
    a.write_at(&[1; 5000], 0).unwrap();
    let fork = disk.fork();
    a.write_at(&[2], 0).unwrap();
    open(&fork, A).write_at(&[3], 4999).unwrap();
    fork.remove(Path::new(A)).unwrap();
    let mut expected = vec![1; 5000];
    expected[0] = 2;
    assert_eq!(disk.read_file(A).unwrap(), expected);
    assert_eq!(kind(fork.read_file(A)), ErrorKind::NotFound);
}

/// What a small store might do: a log that is synced, and a file that is replaced by rename.
fn workload(disk: &SimDisk) -> io::Result<()> {
    let log = disk.open(Path::new(A), OpenMode::CreateNew)?;
    log.reserve(0, 1024)?;
    disk.sync_dir(Path::new(DIR))?;
    for round in 1..4 {
        log.write_at(&[round; 600], u64::from(round) * 100)?;
        log.sync()?;
        let new = disk.open(Path::new("/db/new"), OpenMode::CreateNew)?;
        new.write_at(&[round; 10], 0)?;
        new.sync()?;
        disk.rename(Path::new("/db/new"), Path::new(B))?;
        disk.sync_dir(Path::new(DIR))?;
    }
    disk.remove(Path::new(B))?;
    log.set_len(5)
}

fn content(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    disk.files().into_iter().map(|path| (path.clone(), disk.read_file(path).unwrap())).collect()
}

/// The states that crash points leave are those of the history, and "not applied" is the state one earlier.
#[test]
fn every_crash_point_leaves_what_the_history_says() {
    let whole = disk();
    whole.keep_history();
    workload(&whole).unwrap();
    let outcomes = [Outcome::LoseAll, Outcome::KeepAll, Outcome::LoseAllButLast, Outcome::Random(9)];
    for op in 0..whole.ops() {
        for last in [LastOp::Applied, LastOp::NotApplied] {
            let crashed = disk();
            crashed.crash_after(op, last);
            let error = workload(&crashed).unwrap_err();
            assert_eq!(error.to_string(), SIMULATED_CRASH);
            assert_eq!(crashed.ops(), op + 1);
            assert!(crashed.is_dead());
            let expected = match (last, op) {
                (LastOp::Applied, _) => whole.after_op(op).unwrap(),
                (LastOp::NotApplied, 0) => disk(),
                (LastOp::NotApplied, _) => whole.after_op(op - 1).unwrap(),
            };
            assert_eq!(content(&crashed.process_crash()), content(&expected));
            for outcome in outcomes {
                let expected = content(&expected.power_cut(outcome));
                assert_eq!(content(&crashed.power_cut(outcome)), expected, "{op} {last:?} {outcome:?}");
            }
        }
    }
    assert!(whole.after_op(whole.ops()).is_none());
    assert!(!whole.is_dead());
}

#[test]
fn a_crash_point_that_is_past_is_the_next_operation() {
    let disk = disk();
    let a = create(&disk, A);
    a.write_at(&[1], 0).unwrap();
    disk.crash_after(0, LastOp::NotApplied);
    a.read_at(&mut [0], 0).unwrap();
    assert_eq!(a.write_at(&[2], 0).unwrap_err().to_string(), SIMULATED_CRASH);
    assert!(a.read_at(&mut [0], 0).is_err());
    assert_eq!(disk.read_file(A).unwrap(), [1]);
}

#[test]
fn a_sync_that_is_the_last_operation_may_be_done_and_not_answered() {
    for (last, left) in [(LastOp::Applied, 2), (LastOp::NotApplied, 1)] {
        let disk = disk();
        disk.write_file(A, &[1]).unwrap();
        let a = open(&disk, A);
        a.write_at(&[2], 0).unwrap();
        disk.crash_after(disk.ops(), last);
        assert!(a.sync().is_err());
        assert_eq!(disk.power_cut(Outcome::LoseAll).read_file(A).unwrap(), [left]);
    }
}

#[test]
fn history_before_it_was_asked_for_is_the_state_at_the_asking() {
    let disk = disk();
    let a = create(&disk, A);
    a.write_at(&[1], 0).unwrap();
    assert!(disk.after_op(0).is_none());
    disk.keep_history();
    a.write_at(&[2], 0).unwrap();
    a.write_at(&[3], 0).unwrap();
    let seen: Vec<_> = (0..4).map(|op| disk.after_op(op).unwrap().read_file(A).unwrap()[0]).collect();
    assert_eq!(seen, [1, 1, 2, 3]);
}
