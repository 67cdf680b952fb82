//! Writers whose daemon is killed: what each does, and what its log says was acknowledged.
//!
//! Each writer has an anchor and numbers its transactions. One makes an entry with an edge from the anchor, deletes an
//! older entry, and writes its number to the anchor; so the anchor says which transactions are there, and its entries must
//! be exactly theirs. What a log says is complete up to a kill: a line goes to the file before and after each commit.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use graphite_client::{Client, Direction, Error, Node, NodeId, Result, Transaction, Traversal, Value, props};

const ANCHOR: &str = "Anchor";
const ENTRY: &str = "Entry";
const OF: &str = "OF";
const WRITER: &str = "writer";
const LAST: &str = "last";
const SERIAL: &str = "serial";
const TEXT: &str = "text";
/// Entries that a writer keeps.
const ENTRIES_MAX: usize = 150;

/// Makes the anchors of so many writers, which are numbered from 1 on.
///
/// # Errors
/// The daemon's.
pub fn make_anchors(client: &mut Client, count: u32) -> Result<()> {
    let anchor = |tx: &mut Transaction<'_>, writer: u32| {
        tx.create_node([ANCHOR], props! { WRITER => i64::from(writer), LAST => 0 }).map(|_| ())
    };
    client.transaction(|tx| (1..=count).try_for_each(|writer| anchor(tx, writer)))
}

fn int(node: &Node, name: &str) -> Result<i64> {
    let value = node.get(name).and_then(Value::as_int);
    value.ok_or_else(|| Error::other(format!("a node has no {name}: {node:?}")))
}

/// The anchor of a writer, and the number of its last transaction.
fn anchor(client: &mut Client, writer: u32) -> Result<(NodeId, i64)> {
    for row in client.rows(Traversal::nodes_with(ANCHOR), ())? {
        let row = row?;
        let node = row[0].as_node().ok_or_else(|| Error::other("no node"))?;
        if int(node, WRITER)? == i64::from(writer) {
            return Ok((NodeId(node.id), int(node, LAST)?));
        }
    }
    Err(Error::other(format!("writer {writer} has no anchor")))
}

/// Different for each transaction, and now and then longer than a page.
fn text(writer: u32, serial: i64) -> String {
    let len = if serial % 17 == 0 { 20_000 } else { serial % 200 };
    let piece = format!("{writer}:{serial} ");
    piece.chars().cycle().take(usize::try_from(len).unwrap_or(0)).collect()
}

/// What a writer's transactions were, as its log says.
#[derive(Debug, Default)]
pub struct Log {
    /// Acknowledged entries that no acknowledged transaction deleted, with their ids.
    entries: BTreeMap<i64, NodeId>,
    /// The last transaction that was acknowledged.
    acknowledged: i64,
    /// The one after that, if its commit was asked for: its number, and which entry it deletes.
    in_doubt: Option<(i64, Option<i64>)>,
    /// How many were acknowledged.
    pub commits: u64,
}

fn log_of(dir: &Path, writer: u32) -> PathBuf {
    dir.join(format!("{writer}.log"))
}

impl Log {
    /// Reads the log of a writer; none yet is an empty one.
    ///
    /// # Errors
    /// If it cannot be read, or says what no writer writes.
    pub fn read(dir: &Path, writer: u32) -> Result<Log> {
        let path = log_of(dir, writer);
        let text =
            if path.exists() { std::fs::read_to_string(path).map_err(Error::other)? } else { String::new() };
        let mut log = Log::default();
        for line in text.lines() {
            log.line(line).ok_or_else(|| Error::other(format!("a log says {line:?}")))?;
        }
        Ok(log)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["try", serial, deletes] => {
                let deletes: i64 = deletes.parse().ok()?;
                self.in_doubt = Some((serial.parse().ok()?, (deletes > 0).then_some(deletes)));
            }
            ["ok", serial, id] => {
                let (tried, deletes) = self.in_doubt.take()?;
                if tried != serial.parse::<i64>().ok()? {
                    return None;
                }
                deletes.map(|gone| self.entries.remove(&gone));
                self.entries.insert(tried, NodeId(id.parse().ok()?));
                self.acknowledged = tried;
                self.commits += 1;
            }
            // The next life found out what became of the one in doubt.
            ["found", serial, id] => {
                let (tried, deletes) = self.in_doubt.take()?;
                if serial.parse::<i64>().ok()? == tried {
                    deletes.map(|gone| self.entries.remove(&gone));
                    self.entries.insert(tried, NodeId(id.parse().ok()?));
                    self.acknowledged = tried;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Compares the graph with what was acknowledged. What was in doubt may be there, whole, or not.
    ///
    /// # Errors
    /// Words that say what is lost, half there or too much; or the daemon's.
    pub fn compare(&self, client: &mut Client, writer: u32) -> Result<()> {
        let wrong = |what: String| Error::other(format!("writer {writer}: {what}; its log: {self:?}"));
        let (anchor, last) = anchor(client, writer)?;
        let mut expected: Vec<i64> = self.entries.keys().copied().collect();
        match self.in_doubt {
            _ if last == self.acknowledged => {}
            Some((serial, deletes)) if last == serial => {
                expected.retain(|entry| Some(*entry) != deletes);
                expected.push(serial);
            }
            _ => return Err(wrong(format!("its anchor stands at {last}"))),
        }
        let mut found = Vec::new();
        for id in client.neighbors(anchor, Direction::Out, &[OF])? {
            let node = client.node(id)?.ok_or_else(|| wrong("an edge leads nowhere".to_owned()))?;
            let serial = int(&node, SERIAL)?;
            let is_whole = node.get(TEXT).and_then(Value::as_str) == Some(text(writer, serial).as_str());
            if !is_whole || self.entries.get(&serial).is_some_and(|known| *known != id) {
                return Err(wrong(format!("entry {serial} is not what was written: {node:?}")));
            }
            found.push(serial);
        }
        found.sort_unstable();
        if found == expected { Ok(()) } else { Err(wrong(format!("it has the entries {found:?}"))) }
    }

    /// Entries that must be there, without the one in doubt.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }
}

/// Makes one transaction after the other until the daemon has gone. What the last life left in doubt is found out first.
///
/// # Errors
/// If the log cannot be written; if the graph is not what the log says; the daemon's, unless it has gone.
pub fn write(socket: &Path, dir: &Path, writer: u32) -> Result<()> {
    let mut log = Log::read(dir, writer)?;
    let mut file =
        OpenOptions::new().create(true).append(true).open(log_of(dir, writer)).map_err(Error::other)?;
    match write_until_it_has_gone(socket, &mut log, &mut file, writer) {
        Err(error) if error.is_no_connection() || error.is_commit_unknown() => Ok(()),
        other => other,
    }
}

fn say(log: &mut Log, file: &mut File, line: &str) -> Result<()> {
    file.write_all(format!("{line}\n").as_bytes()).map_err(Error::other)?;
    log.line(line).ok_or_else(|| Error::other(format!("{line:?} does not follow")))
}

fn write_until_it_has_gone(socket: &Path, log: &mut Log, file: &mut File, writer: u32) -> Result<()> {
    let mut client = Client::connect(socket)?;
    log.compare(&mut client, writer)?;
    let (anchor, last) = anchor(&mut client, writer)?;
    let mut serial = log.acknowledged;
    if let Some((tried, _)) = log.in_doubt {
        serial = tried;
        let found = if last == tried { entry(&mut client, anchor, tried)? } else { NodeId(0) };
        say(log, file, &format!("found {last} {}", found.0))?;
    }
    loop {
        serial += 1;
        let gone = (log.entries.len() >= ENTRIES_MAX).then(|| log.entries.first_key_value()).flatten();
        let gone = gone.map(|(serial, id)| (*serial, *id));
        let mut tx = client.begin_write()?;
        let made = tx.create_node([ENTRY], props! { SERIAL => serial, TEXT => text(writer, serial) })?;
        tx.create_edge(anchor, made, OF, ())?;
        gone.map_or(Ok(()), |(_, id)| tx.delete_node(id, true))?;
        tx.set_properties(anchor, props! { LAST => serial })?;
        say(log, file, &format!("try {serial} {}", gone.map_or(0, |(serial, _)| serial)))?;
        tx.commit()?;
        say(log, file, &format!("ok {serial} {}", made.0))?;
    }
}

/// The entry that a transaction made.
fn entry(client: &mut Client, anchor: NodeId, serial: i64) -> Result<NodeId> {
    for id in client.neighbors(anchor, Direction::Out, &[OF])? {
        let node = client.node(id)?.ok_or_else(|| Error::other("an edge leads nowhere"))?;
        if int(&node, SERIAL)? == serial {
            return Ok(id);
        }
    }
    Err(Error::other(format!("entry {serial} is gone since it was compared")))
}
