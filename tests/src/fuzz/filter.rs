//! What people type into the monitor.

use graphite_top::filter::Filter;
use graphite_top::record;
use graphite_top::samples;
use graphite_top::scene::Scene;
use graphite_top::views::View;

/// The text of a filter; behind a zero byte the picture that is filtered, as the daemon sends it. A filter's text is
/// understood as the same filter; a row is shown by a filter or by its opposite, and not by both.
pub fn monitor_filter(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let scene = match parts.next() {
        None => samples::chain(),
        Some(frame) => match record::decoded(frame) {
            Some(picture) => Scene::new(picture, None),
            None => return,
        },
    };
    let Ok(Some(filter)) = Filter::parse(&text) else { return };
    assert_eq!(Filter::parse(filter.text()), Ok(Some(filter.clone())));
    let opposite = Filter::parse(&format!("not ({text})")).ok().flatten();
    for view in View::ALL {
        let columns = view.columns();
        if filter.check(columns).is_err() {
            continue;
        }
        let rows = u32::try_from(view.count(&scene)).expect("pictures are small");
        for row in 0..rows.min(64) {
            let is_shown = filter.matches(columns, &scene, row);
            if let Some(opposite) = &opposite {
                assert_ne!(opposite.matches(columns, &scene, row), is_shown, "{view:?} {row}");
            }
            view.detail(&scene, row);
        }
    }
}
