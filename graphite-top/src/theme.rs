//! Colours and glyphs. Each role has a modifier or a word beside its colour, so nothing is told by colour alone.

use ratatui::style::{Color, Modifier, Style};

/// For which background the colours are chosen. None of them sets a background of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Background {
    /// What the terminal says in COLORFGBG, or dark
    Auto,
    /// Light letters on a dark background
    Dark,
    /// Dark letters on a light background
    Light,
}

/// What a piece of the screen is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Ordinary text.
    Text,
    /// The line at the top.
    Title,
    /// Names of columns and panes.
    Heading,
    /// What matters less.
    Dim,
    /// What is well, and bars.
    Good,
    /// What to look at.
    Warn,
    /// What to act on.
    Alert,
    /// The line under the cursor.
    Selected,
}

/// Which colours and glyphs the screen is drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Colours; without them there are only modifiers.
    pub color: bool,
    /// Whether the background is light.
    pub light: bool,
    /// Whether only ASCII is drawn.
    pub ascii: bool,
}

impl Theme {
    /// As the options and the environment say.
    pub fn chosen(
        background: Background,
        ascii: bool,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Theme {
        let no_color = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
        let light = match background {
            Background::Light => true,
            Background::Dark => false,
            Background::Auto => environment("COLORFGBG").is_some_and(|value| is_light(&value)),
        };
        Theme { color: !no_color && environment("TERM").as_deref() != Some("dumb"), light, ascii }
    }

    /// How a role is drawn.
    pub fn style(self, role: Role) -> Style {
        let (modifier, dark, light) = match role {
            Role::Text => (Modifier::empty(), None, None),
            Role::Title => (Modifier::REVERSED, None, None),
            Role::Heading => (Modifier::BOLD, Some(Color::Cyan), Some(Color::Blue)),
            Role::Dim => (Modifier::DIM, None, None),
            Role::Good => (Modifier::empty(), Some(Color::Green), Some(Color::Green)),
            Role::Warn => (Modifier::BOLD, Some(Color::Yellow), Some(Color::Magenta)),
            Role::Alert => (Modifier::BOLD, Some(Color::LightRed), Some(Color::Red)),
            Role::Selected => (Modifier::REVERSED, None, None),
        };
        let style = Style::new().add_modifier(modifier);
        match if self.light { light } else { dark } {
            Some(color) if self.color => style.fg(color),
            _ => style,
        }
    }

    /// The glyph, or its ASCII stand-in.
    pub fn glyph(self, glyph: Glyph) -> &'static str {
        let (ascii, unicode) = match glyph {
            Glyph::Rail => ("|  ", "│  "),
            Glyph::Gap => ("   ", "   "),
            Glyph::Branch => ("|- ", "├─ "),
            Glyph::LastBranch => ("`- ", "└─ "),
            Glyph::Open => ("v ", "▼ "),
            Glyph::Folded => ("+ ", "▶ "),
            Glyph::Leaf => ("  ", "  "),
            Glyph::Rule => ("-", "─"),
            Glyph::Cut => ("~", "…"),
            Glyph::Separator => ("|", "│"),
            Glyph::Arrow => ("->", "→"),
            Glyph::Full => ("#", "█"),
            Glyph::Empty => (".", "░"),
            Glyph::Descending => ("v", "▾"),
            Glyph::Ascending => ("^", "▴"),
        };
        if self.ascii { ascii } else { unicode }
    }

    /// A bar of so many columns, of which a share of 100 is filled.
    pub fn bar(self, percent: u64, width: usize) -> String {
        let filled = usize::try_from(percent.min(100)).unwrap_or(100) * width / 100;
        let (full, empty) = (self.glyph(Glyph::Full), self.glyph(Glyph::Empty));
        full.repeat(filled) + &empty.repeat(width - filled)
    }

    /// The last values as a row of little bars, the newest at the right, the largest as high as a line.
    pub fn sparkline(self, values: &[u64], width: usize) -> String {
        const UNICODE: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        const ASCII: [char; 8] = ['_', '.', '.', '-', '-', '=', '=', '#'];
        let levels = if self.ascii { ASCII } else { UNICODE };
        let values = &values[values.len().saturating_sub(width)..];
        let top = values.iter().copied().max().unwrap_or(0).max(1);
        let level = |value: u64| usize::try_from(u128::from(value) * 7 / u128::from(top)).unwrap_or(7);
        let bars: String = values.iter().map(|value| levels[level(*value).min(7)]).collect();
        " ".repeat(width - values.len()) + &bars
    }
}

/// Marks of the screen that are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyph {
    /// An ancestor that has more branches below.
    Rail,
    /// An ancestor that has none.
    Gap,
    /// A branch with others below it.
    Branch,
    /// The last branch.
    LastBranch,
    /// A session whose waiters are shown.
    Open,
    /// A session whose waiters are hidden.
    Folded,
    /// A session without waiters.
    Leaf,
    /// A horizontal line.
    Rule,
    /// What is cut off.
    Cut,
    /// Between panes.
    Separator,
    /// From one to the next.
    Arrow,
    /// The filled part of a bar.
    Full,
    /// The rest of a bar.
    Empty,
    /// Largest first.
    Descending,
    /// Smallest first.
    Ascending,
}

/// COLORFGBG ends with the number of the background's colour, of which 7 and 9 to 15 are light.
fn is_light(value: &str) -> bool {
    value.rsplit(';').next().and_then(|number| number.parse::<u8>().ok()).is_some_and(|n| n == 7 || n > 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_means_none_and_the_modifiers_stay() {
        let theme =
            Theme::chosen(Background::Auto, false, |name| (name == "NO_COLOR").then(|| "1".to_owned()));
        for role in [Role::Warn, Role::Alert, Role::Heading] {
            assert_eq!(theme.style(role).fg, None);
            assert!(theme.style(role).add_modifier.contains(Modifier::BOLD));
        }
        assert!(Theme::chosen(Background::Auto, false, |_| None).color);
    }

    #[test]
    fn the_background_is_what_the_terminal_says() {
        for (value, light) in [("0;15", true), ("15;0", false), ("0;default;7", true), ("x", false)] {
            let theme =
                Theme::chosen(Background::Auto, false, |name| (name == "COLORFGBG").then(|| value.into()));
            assert_eq!(theme.light, light, "{value}");
        }
    }

    #[test]
    fn bars_have_their_width_in_both_alphabets() {
        let (plain, ascii) = (
            Theme { color: false, light: false, ascii: false },
            Theme { color: false, light: false, ascii: true },
        );
        assert_eq!(plain.bar(71, 8), "█████░░░");
        assert_eq!(ascii.bar(200, 4), "####");
        assert_eq!(plain.sparkline(&[9, 0, 7, 14], 3), "▁▄█");
        assert_eq!(ascii.sparkline(&[7], 3), "  #");
    }
}
