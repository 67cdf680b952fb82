//! What the screen shows: which picture, which view, which rows in which order, and what is being asked of the operator.

use std::time::{Duration, Instant};

use graphite_client::messages::{Cancel, Kill, Mode, Picture};
use rustc_hash::FxHashSet;

use crate::connection::{Act, Link, Order};
use crate::filter::Filter;
use crate::format::{counted, span};
use crate::history::History;
use crate::record::{self, Recorder};
use crate::scene::{Life, Scene};
use crate::table::{self, Sort};
use crate::theme::Theme;
use crate::tree::{self, Line};
use crate::views::View;

/// Values that a sparkline can show.
const SERIES_MAX: usize = 120;

/// What an order would do, waiting for the operator's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What it costs and frees.
    pub lines: Vec<String>,
    /// What is sent if the answer is yes.
    pub order: Order,
}

/// The rows of a view.
#[derive(Debug)]
pub enum Listing {
    /// One below the other.
    Flat(Vec<u32>),
    /// Who waits for whom.
    Tree(Vec<Line>),
}

impl Listing {
    /// How many lines there are.
    pub fn len(&self) -> usize {
        match self {
            Listing::Flat(rows) => rows.len(),
            Listing::Tree(lines) => lines.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row of a line.
    pub fn row(&self, at: usize) -> Option<u32> {
        match self {
            Listing::Flat(rows) => rows.get(at).copied(),
            Listing::Tree(lines) => lines.get(at).map(|line| line.place),
        }
    }
}

/// All that the screen depends on.
#[derive(Debug)]
pub struct State {
    /// Colours and glyphs.
    pub theme: Theme,
    /// Whether nobody can be cancelled or killed.
    pub read_only: bool,
    /// How often a picture is asked for.
    pub interval: Duration,
    /// Whether a recording is shown.
    pub is_replay: bool,
    /// The view.
    pub view: View,
    /// By what each view is sorted.
    pub sorts: [Option<Sort>; 6],
    /// Which rows are left out.
    pub filter: Option<Filter>,
    /// The filter while it is being typed.
    pub typing: Option<String>,
    /// The newest picture, or that at which the screen was stopped.
    pub scene: Option<Scene>,
    /// Whether the screen stands still.
    pub paused: bool,
    /// The last minutes.
    pub history: History,
    /// Which of them is shown.
    pub past: Option<u64>,
    /// The line under the cursor.
    pub cursor: usize,
    /// The first line that is shown.
    pub first: usize,
    /// What makes the row under the cursor the same in the next picture.
    key: Option<u64>,
    /// Sessions whose waiters are hidden.
    pub folded: FxHashSet<u64>,
    /// Rows of the view.
    pub listing: Listing,
    /// Whether details take most of the screen.
    pub detail: bool,
    /// Whether the keys are explained.
    pub help: bool,
    /// What the operator is asked.
    pub question: Option<Question>,
    /// What happened last.
    pub message: Option<String>,
    /// Since when there is no connection, and why.
    pub down: Option<(Instant, String)>,
    /// Our own session.
    pub own_session: Option<u64>,
    /// By which name the daemon knows who looks, and whether that may do everything.
    pub who: Option<String>,
    /// When the last picture came.
    taken: Option<Instant>,
    /// The number of the connection.
    link: u64,
    /// The daemon that is there, once it has shown itself.
    alive: Option<Life>,
    /// Commits per second, oldest first.
    pub commits: Vec<u64>,
    /// Sessions that waited, oldest first.
    pub waits: Vec<u64>,
    /// Where pictures are recorded.
    pub recorder: Option<Recorder>,
}

impl State {
    /// An empty screen.
    pub fn new(theme: Theme, view: View, interval: Duration) -> State {
        State {
            theme,
            read_only: false,
            interval,
            is_replay: false,
            view,
            sorts: [None; 6],
            filter: None,
            typing: None,
            scene: None,
            paused: false,
            history: History::default(),
            past: None,
            cursor: 0,
            first: 0,
            key: None,
            folded: FxHashSet::default(),
            listing: Listing::Flat(Vec::new()),
            detail: false,
            help: false,
            question: None,
            message: None,
            down: None,
            own_session: None,
            who: None,
            taken: None,
            link: 0,
            alive: None,
            commits: Vec::new(),
            waits: Vec::new(),
            recorder: None,
        }
    }

    /// A picture came.
    pub fn take(&mut self, picture: Picture) {
        if let Some(recorder) = &mut self.recorder {
            let added = record::encoded(&picture).map(|frame| recorder.add(&frame));
            if let Some(Err(error)) = added {
                self.recorder = None;
                self.message = Some(format!("recording ended: {error}"));
            }
        }
        self.taken = Some(Instant::now());
        self.history.add(&picture);
        self.alive = Some(Life::of(&picture));
        if self.paused {
            return;
        }
        let before = self.scene.take().map(|scene| scene.picture);
        self.show(picture, before.as_ref());
        if let Some(scene) = &self.scene {
            let commits = scene.rates.commits.round().max(0.0);
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates, as is wanted"
            )]
            push(&mut self.commits, commits as u64);
            push(&mut self.waits, scene.counts.waiting);
        }
    }

    fn show(&mut self, mut picture: Picture, before: Option<&Picture>) {
        // The monitor watches others.
        if let Some(own) = self.own_session {
            if let Some(row) = picture.sessions.iter().find(|row| row.session == own) {
                let name = row.user.clone().unwrap_or_else(|| row.uid.to_string());
                self.who = Some(if row.is_admin { format!("{name}(admin)") } else { name });
            }
            picture.sessions.retain(|row| row.session != own);
        }
        self.scene = Some(Scene::new(picture, before));
        self.list();
    }

    /// How long a picture may be the newest one until it is old: that it comes late by a moment says nothing.
    pub fn patience(&self) -> Duration {
        self.interval * 2 + Duration::from_millis(500)
    }

    /// Since when there is the newest picture, if the next one is long due.
    pub fn overdue(&self) -> Option<Instant> {
        self.taken.filter(|taken| !self.is_replay && taken.elapsed() > self.patience())
    }

    /// The connection came or went.
    pub fn link(&mut self, link: Link) {
        match link {
            Link::Up { session, number } => {
                (self.own_session, self.link, self.down, self.question) = (Some(session), number, None, None);
                // Until it has shown something, nobody knows whether it is the daemon that was there before.
                self.alive = None;
            }
            Link::Down(why) => {
                let since = self.down.take().map_or_else(Instant::now, |(since, _)| since);
                self.down = Some((since, why));
                self.question = None;
            }
        }
    }

    /// Puts the view's rows in order; the cursor stays on its row.
    pub fn list(&mut self) {
        let Some(scene) = &self.scene else { return };
        let columns = self.view.columns();
        let filter = self.filter.as_ref().filter(|filter| filter.check(columns).is_ok());
        let sort = self.sorts[self.view.place()];
        self.listing = if self.view == View::Tree {
            let sort = sort.unwrap_or(Sort { column: 6, descending: true });
            let keep = |row| filter.is_none_or(|filter| filter.matches(columns, scene, row));
            let folded = |row: u32| self.folded.contains(&scene.picture.sessions[row as usize].session);
            let order = |one, two| sort.order(columns, scene, one, two);
            Listing::Tree(tree::lines(&scene.picture.sessions, &scene.behind, &folded, &keep, &order))
        } else {
            Listing::Flat(table::rows(columns, scene, self.view.count(scene), filter, sort))
        };
        let is_it = |at: &usize| self.listing.row(*at).map(|row| self.view.key(scene, row)) == self.key;
        let found = self.key.and_then(|_| (0..self.listing.len()).find(is_it));
        self.cursor = found.unwrap_or(self.cursor).min(self.listing.len().saturating_sub(1));
    }

    /// Moves the cursor.
    pub fn go(&mut self, by: isize) {
        let last = self.listing.len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
        self.key = self.scene.as_ref().zip(self.row()).map(|(scene, row)| self.view.key(scene, row));
    }

    /// The row under the cursor.
    pub fn row(&self) -> Option<u32> {
        self.listing.row(self.cursor)
    }

    /// Another view.
    pub fn turn_to(&mut self, view: View) {
        self.view = view;
        (self.cursor, self.first, self.key) = (0, 0, None);
        self.list();
    }

    /// Steps through the last minutes.
    pub fn step(&mut self, by: isize) {
        let last = self.history.len().saturating_sub(1);
        let now = self.past.map_or(last, |number| self.history.place(number));
        let at = now.saturating_add_signed(by).min(last);
        let before = at.checked_sub(1).and_then(|at| self.history.get(at));
        if let Some(picture) = self.history.get(at) {
            (self.past, self.paused) = (self.history.number(at), true);
            self.show(picture, before.as_ref());
        }
    }

    /// Stops, or goes on with the newest.
    pub fn pause(&mut self) {
        self.paused = !self.paused;
        if !self.paused {
            self.past = None;
            if let Some(picture) = self.history.get(self.history.len().saturating_sub(1)) {
                self.show(picture, None);
            }
        }
    }

    /// Sorts by the next column, or the other way round.
    pub fn sort(&mut self, turn: bool) {
        let sort = &mut self.sorts[self.view.place()];
        *sort = Some(match *sort {
            None => Sort { column: 0, descending: !turn },
            Some(old) if turn => Sort { descending: !old.descending, ..old },
            Some(old) => Sort { column: (old.column + 1) % self.view.columns().len(), descending: true },
        });
        self.list();
    }

    /// Takes a filter, or says what is wrong with it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn filter_by(&mut self, text: &str) -> Result<(), crate::filter::FilterError> {
        let filter = Filter::parse(text)?;
        if let Some(filter) = &filter {
            filter.check(self.view.columns())?;
        }
        self.filter = filter;
        self.list();
        Ok(())
    }

    /// Whether what is shown is of the daemon that is there.
    fn is_of_the_living(&self) -> bool {
        let shown = self.scene.as_ref().map(|scene| Life::of(&scene.picture));
        shown.zip(self.alive).is_some_and(|(shown, alive)| shown.is(alive))
    }

    /// Asks whether to cancel the statement or kill the session under the cursor.
    pub fn ask(&mut self, kill: bool) {
        let refusal = if self.is_replay {
            Some("a recording cannot be acted on")
        } else if self.read_only {
            Some("started with --read-only: nothing can be cancelled or killed")
        } else if self.down.is_some() {
            Some("not connected: nothing can be cancelled or killed")
        } else if !self.is_of_the_living() {
            Some("this is of a daemon that has gone: nothing can be cancelled or killed")
        } else {
            None
        };
        if let Some(why) = refusal {
            self.message = Some(why.to_owned());
            return;
        }
        let Some((scene, row)) = self.scene.as_ref().zip(self.row()) else { return };
        let session = self.view.session(scene, row).and_then(|session| scene.place_of(session));
        self.question = session.map(|place| question(scene, place, kill, self.link));
        if self.question.is_none() {
            self.message = Some("no session under the cursor".to_owned());
        }
    }
}

fn push(series: &mut Vec<u64>, value: u64) {
    if series.len() >= SERIES_MAX {
        series.remove(0);
    }
    series.push(value);
}

fn question(scene: &Scene, place: u32, kill: bool, link: u64) -> Question {
    let row = &scene.picture.sessions[place as usize];
    let who = format!(
        "session {} ({}, pid {}, \"{}\")",
        row.session,
        row.user.as_deref().unwrap_or("?"),
        row.pid,
        row.client
    );
    let age = span(row.transaction_ms.unwrap_or(0));
    let behind = match scene.behind(place) {
        0 => "nobody waits behind it".to_owned(),
        count => format!(
            "{} behind it go on: {}",
            counted(count, "session"),
            crate::views::sessions::names(scene, place)
        ),
    };
    let frees = format!("frees: {}; {behind}", counted(row.locks, "lock"));
    let statement = row.statement.as_deref().unwrap_or("none");
    let (lines, act) = if kill {
        let cost = match row.transaction {
            Some(number) => {
                format!("costs: its connection, and transaction {number} is rolled back ({age} of work)")
            }
            None => "costs: its connection; no transaction is open".to_owned(),
        };
        let kill = Kill { session: row.session, transaction: row.transaction };
        (vec![format!("Kill {who}?"), cost, frees, format!("statement: {statement}")], Act::Kill(kill))
    } else {
        let ran = span(row.statement_ms.unwrap_or(0));
        let (cost, then) = match (row.transaction, row.mode) {
            // A statement that fails takes its transaction with it.
            (Some(number), Some(Mode::Write)) => (
                format!(
                    "costs: its statement ({ran}), and transaction {number} is rolled back ({age} of work)"
                ),
                frees,
            ),
            (Some(_), _) => (
                format!("costs: its statement ({ran}); the client gets an error"),
                format!("keeps: its connection and its transaction, which only reads; {behind}"),
            ),
            (None, _) => {
                (format!("costs: its statement ({ran}), which is undone; the client gets an error"), frees)
            }
        };
        let cancel = Cancel {
            session: row.session,
            transaction: Some(row.transaction.unwrap_or(0)),
            statement: Some(row.statement_number),
        };
        (
            vec![format!("Cancel the statement of {who}?"), cost, then, format!("statement: {statement}")],
            Act::Cancel(cancel),
        )
    };
    Question { lines, order: Order::Act(link, act) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use graphite_client::messages::SessionState;

    fn state() -> State {
        let theme = Theme { color: false, light: false, ascii: true };
        State::new(theme, View::Sessions, Duration::from_secs(1))
    }

    /// The daemon that was there before, begun anew: its sessions have the same numbers.
    fn another(picture: &Picture) -> Picture {
        let mut another = picture.clone();
        another.at_ms += 60_000;
        another.status.uptime_ms = 5_000;
        another
    }

    #[test]
    fn what_is_of_a_daemon_that_has_gone_is_not_acted_on() {
        let mut state = state();
        state.link(Link::Up { session: 16, number: 1 });
        let picture = samples::chain().picture;
        state.take(picture.clone());
        state.ask(true);
        let order = state.question.take().map(|question| question.order);
        assert!(matches!(order, Some(Order::Act(1, Act::Kill(_)))), "{order:?}");

        state.pause();
        state.link(Link::Down("gone".to_owned()));
        state.ask(true);
        assert_eq!(state.question, None);
        state.link(Link::Up { session: 16, number: 2 });
        state.ask(true);
        assert_eq!(state.question, None, "nobody knows yet who is there");
        state.take(another(&picture));
        state.ask(true);
        assert_eq!(state.question, None, "the screen stands still and shows the other one's sessions");
        state.step(-1);
        state.ask(false);
        assert_eq!(state.question, None);
        state.pause();
        state.ask(true);
        let order = state.question.take().map(|question| question.order);
        assert!(matches!(order, Some(Order::Act(2, _))), "{order:?}");
    }

    /// A connection that is made again to the same daemon forgets nothing.
    #[test]
    fn what_was_seen_of_the_same_daemon_before_may_be_acted_on() {
        let mut state = state();
        state.link(Link::Up { session: 16, number: 1 });
        let mut picture = samples::chain().picture;
        state.take(picture.clone());
        state.pause();
        state.link(Link::Down("hiccup".to_owned()));
        state.link(Link::Up { session: 17, number: 2 });
        (picture.at_ms, picture.status.uptime_ms) = (picture.at_ms + 9_000, picture.status.uptime_ms + 9_001);
        state.take(picture);
        state.ask(true);
        assert!(state.question.is_some());
    }

    #[test]
    fn the_question_says_what_becomes_of_a_transaction() {
        let mut scene = samples::quiet();
        let mut ask = |mode, transaction| {
            let mut row = samples::session(17, "alice", "etl", SessionState::Active, &[]);
            (row.mode, row.transaction) = (mode, transaction);
            scene.picture.sessions = vec![row];
            question(&scene, 0, false, 1).lines.join("; ")
        };
        let write = ask(Some(Mode::Write), Some(9));
        assert!(write.contains("transaction 9 is rolled back") && !write.contains("keeps"), "{write}");
        let read = ask(Some(Mode::Read), Some(9));
        assert!(
            read.contains("keeps: its connection and its transaction") && !read.contains("rolled"),
            "{read}"
        );
        let alone = ask(None, None);
        assert!(alone.contains("which is undone") && !alone.contains("transaction"), "{alone}");
    }
}
