//! What wakes the screen: nothing else does, so at rest nothing is drawn.

use graphite_client::messages::Picture;

use crate::connection::Link;

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// A key was pressed.
    Key(crossterm::event::KeyEvent),
    /// The terminal has another size.
    Resize,
    /// A picture came.
    Picture(Box<Picture>),
    /// The connection came or went.
    Link(Link),
    /// An order was carried out or refused.
    Done(String),
    /// The recording that is replayed ended.
    End,
    /// The system asks the program to leave, by this signal.
    Signal(i32),
    /// The terminal cannot be read any more.
    InputLost(String),
}
