//! Values as text.

mod temporal;

pub use graphite_protocol::{harmless, is_harmless};
pub use temporal::{
    parse_date, parse_date_time, parse_duration, parse_local_date_time, parse_local_time, parse_time,
    show_date, show_date_time, show_duration, show_local_date_time, show_local_time, show_time,
};
