//! What the screen shows: which picture, which view, which rows in which order, and what is being asked of the operator.

use std::time::{Duration, Instant};

use graphite_client::messages::Picture;
use rustc_hash::FxHashSet;

use crate::connection::Link;
use crate::filter::Filter;
use crate::history::History;
use crate::question::{Question, question};
use crate::record::{self, Recorder};
use crate::scene::{Life, Scene};
use crate::table::{self, Sort};
use crate::theme::Theme;
use crate::tree::{self, Line};
use crate::views::View;

/// Values that a sparkline can show.
const SERIES_MAX: usize = 120;

/// A picture that is younger is not late, however short the interval.
const LATE_AFTER_MIN: Duration = Duration::from_secs(1);

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
    /// How fast, in percent of its pace.
    pub speed_percent: u32,
    /// When the last picture came.
    arrived: Option<Instant>,
    /// Who one is, as the daemon knows it.
    pub own_name: Option<String>,
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
    /// The newest picture while the screen stands still. What is remembered of the last minutes may be a part of it.
    newest: Option<Picture>,
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
            speed_percent: 100,
            arrived: None,
            own_name: None,
            view,
            sorts: [None; 6],
            filter: None,
            typing: None,
            scene: None,
            paused: false,
            newest: None,
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
            match record::encoded(&picture).map(|frame| recorder.add(&frame)) {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    self.recorder = None;
                    self.message = Some(format!("recording ended: {error}"));
                }
                None => self.message = Some("not recorded: this picture is larger than a frame".to_owned()),
            }
        }
        self.arrived = Some(Instant::now());
        self.history.add(&picture);
        self.alive = Some(Life::of(&picture));
        if self.paused {
            self.newest = Some(picture);
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
                let user = row.user.clone().unwrap_or_else(|| format!("uid {}", row.uid));
                self.own_name = Some(if self.read_only {
                    format!("{user}(read-only)")
                } else if row.is_admin {
                    format!("{user}(admin)")
                } else {
                    user
                });
            }
            picture.sessions.retain(|row| row.session != own);
        }
        self.scene = Some(Scene::new(picture, before));
        self.list();
    }

    /// Since when what is shown is not what is, and not because the operator wants it so: there is no connection, or the
    /// daemon does not answer.
    pub fn stale(&self) -> Option<Instant> {
        if let Some((since, _)) = &self.down {
            return Some(self.arrived.unwrap_or(*since));
        }
        self.arrived.filter(|_| !self.is_replay && !self.paused).filter(|at| at.elapsed() > self.late_after())
    }

    /// How old the newest picture may be, before the daemon is late with the next.
    fn late_after(&self) -> Duration {
        (self.interval * 2).max(LATE_AFTER_MIN)
    }

    /// When the screen changes by itself, if nothing happens: it says how old a stale picture is.
    pub fn changes_within(&self) -> Duration {
        match (self.stale(), self.arrived) {
            (Some(_), _) => Duration::from_secs(1),
            (None, Some(at)) if !self.is_replay && !self.paused => {
                self.late_after().saturating_sub(at.elapsed()) + Duration::from_millis(1)
            }
            (None, _) => Duration::from_secs(3600),
        }
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
            let remembered = || self.history.get(self.history.len().saturating_sub(1));
            // If none came meanwhile, and another was stepped to, the next one is not far.
            let newest = self.newest.take().or_else(|| self.past.and_then(|_| remembered()));
            self.past = None;
            if let Some(picture) = newest {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Act, Order};
    use crate::samples;

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

    #[test]
    fn who_goes_on_sees_the_whole_of_what_came_meanwhile() {
        let mut state = state();
        let picture = samples::large(5000, 10).picture;
        state.take(picture.clone());
        state.pause();
        state.take(picture.clone());
        state.step(-1);
        state.pause();
        assert_eq!(state.scene.map(|scene| scene.picture.sessions.len()), Some(picture.sessions.len()));
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
}
