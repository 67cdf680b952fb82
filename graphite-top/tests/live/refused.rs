//! Whoever answers is no daemon that can be watched: one clear line and an exit code.
//!
//! The daemon is made up here: it hears the first request, and answers as it is told.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;

use graphite_protocol::message::{request_msgid, write_error};
use graphite_protocol::{ErrorCode, FRAME_BYTES_MAX, FrameReader, Value, WireError};

/// What the monitor says and by which code it ends, when its first request is answered so; the number is the request's.
fn told(answer: impl FnOnce(u32) -> Vec<u8> + Send + 'static) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let daemon = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        let msgid = loop {
            if let Some(frame) = reader.next_frame().unwrap() {
                break request_msgid(frame).unwrap();
            }
            assert!(reader.read_from(&mut stream).unwrap() > 0, "the monitor says hello");
        };
        // It may have had enough before it read all.
        let _ = stream.write_all(&answer(msgid));
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_graphite-top"));
    let ran = command.arg("--socket").arg(&socket).args(["--once"]).stdin(Stdio::null()).output().unwrap();
    daemon.join().unwrap();
    assert!(ran.stdout.is_empty());
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    (ran.status.code(), said)
}

fn refusal(error: WireError) -> impl FnOnce(u32) -> Vec<u8> + Send + 'static {
    move |msgid| {
        let mut out = Vec::new();
        write_error(&mut out, msgid, &error, FRAME_BYTES_MAX);
        out
    }
}

#[test]
fn a_daemon_of_another_protocol_version_is_76_and_both_versions_are_said() {
    let message = "this daemon (graphited/9.0.0) speaks protocol 9, the client 1";
    let error = WireError::new(ErrorCode::VersionMismatch, message)
        .with_detail("server_protocol", Value::from(9i64))
        .with_detail("client_protocol", Value::from(1i64));
    let (code, said) = told(refusal(error));
    assert_eq!(code, Some(76), "{said}");
    assert!(said.contains("protocol 9") && said.contains("the client 1"), "{said}");
}

#[test]
fn whoever_is_no_daemon_of_ours_is_76() {
    let (code, said) = told(|_| b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec());
    assert_eq!(code, Some(76), "{said}");
    let (code, said) = told(|_| Vec::new());
    assert_eq!(code, Some(76), "it closes at once: {said}");
}

#[test]
fn a_daemon_that_refuses_for_lack_of_rights_is_77() {
    let error = WireError::new(ErrorCode::NotAuthorised, "user 1000 may not use this database");
    let (code, said) = told(refusal(error));
    assert_eq!(code, Some(77), "{said}");
    assert!(said.contains("may not use this database"), "{said}");
}

#[test]
fn a_daemon_that_is_full_or_leaves_is_no_connection() {
    for code in [ErrorCode::TooManySessions, ErrorCode::ShuttingDown] {
        let (code, said) = told(refusal(WireError::new(code, "not now")));
        assert_eq!(code, Some(3), "{said}");
    }
}
