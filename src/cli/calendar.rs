//! The days of a lake as a calendar: a row a month, a cell a day; of more than a year two months stand side by side.

use chrono::Datelike;

use crate::lake::State;
use crate::lake::layout::Month;
use crate::time::Day;

/// Months that are listed one below the other; more of them are set in two columns.
const ONE_COLUMN_MAX: usize = 12;
/// Months of a column of a year.
const HALF_YEAR: u32 = 6;
/// Days of the longest month.
const MONTH_DAYS: u32 = 31;
const GAP: &str = "   ";

/// How cells are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// For a terminal: blocks in colour.
    Colour,
    /// One ASCII character a day, told apart without colour.
    Plain,
}

/// What is known of a day; `None` is missing.
pub(super) type Cell = Option<State>;

/// In the order of the legend.
const CELLS: [Cell; 7] = [
    Some(State::Settled),
    Some(State::Provisional),
    Some(State::Partial),
    Some(State::Dirty),
    Some(State::Empty),
    Some(State::Expired),
    None,
];

impl Style {
    fn draw(self, cell: Cell) -> String {
        // Colour, symbol, letter. Symbols differ as well: not everybody sees colours.
        let (colour, symbol, letter) = match cell {
            Some(State::Settled) => ("32", '■', '#'),
            Some(State::Provisional) => ("36", '▪', 'o'),
            Some(State::Partial) => ("33", '◧', '%'),
            Some(State::Dirty) => ("35", '◆', '!'),
            Some(State::Empty) => ("32", '□', '-'),
            Some(State::Expired) => ("90", '×', 'x'),
            None => ("31", '·', '.'),
        };
        match self {
            Style::Colour => format!("\x1b[{colour}m{symbol}\x1b[0m"),
            Style::Plain => letter.to_string(),
        }
    }
}

/// What the cells mean.
pub(super) fn legend(style: Style) -> String {
    let name = |cell: Cell| cell.map_or("missing", State::name);
    CELLS.map(|cell| format!("{} {}", style.draw(cell), name(cell))).join("  ")
}

/// The days from `first` to `last`, both included; those of the same months outside are left blank.
pub(super) fn calendar(first: Day, last: Day, state: impl Fn(Day) -> Cell, style: Style) -> String {
    let months = months(first, last);
    let inside = |day: Day| (first..=last).contains(&day);
    let row = |month: Day| {
        let cells = (0..MONTH_DAYS).map(|n| month.plus(n.into())).map(|day| match Month::of(day) == Month::of(month) {
            true if inside(day) => style.draw(state(day)),
            _ => " ".to_owned(),
        });
        format!("{}  {}", month.month(), cells.collect::<String>())
    };
    let lines: Vec<String> = if months.len() <= ONE_COLUMN_MAX {
        std::iter::once(ruler()).chain(months.into_iter().map(row)).collect()
    } else {
        let left = |month: &Day| month.date().month() <= HALF_YEAR;
        let mut lines = vec![format!("{}{GAP}{}", ruler(), ruler())];
        for year in first.date().year()..=last.date().year() {
            for n in 1..=HALF_YEAR {
                let of = |n| months.iter().find(|m| (m.date().year(), m.date().month()) == (year, n));
                let blank = || " ".repeat(ruler().len());
                match (of(n).filter(|m| left(m)), of(n + HALF_YEAR)) {
                    (None, None) => {}
                    (a, b) => lines.push(format!(
                        "{}{GAP}{}",
                        a.map_or_else(blank, |m| row(*m)),
                        b.map_or_else(blank, |m| row(*m))
                    )),
                }
            }
        }
        lines
    };
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The first days of all months.
fn months(first: Day, last: Day) -> Vec<Day> {
    let start = |day: Day| day.plus(1 - i64::from(day.date().day()));
    let following = |day: &Day| Some(start(day.plus(MONTH_DAYS.into())));
    std::iter::successors(Some(start(first)), following).take_while(|day| *day <= last).collect()
}

/// Where the days of a month are.
fn ruler() -> String {
    let mut ruler = " ".repeat("2025-01  ".len());
    let mut day = 1;
    while day <= MONTH_DAYS {
        let label = day.to_string();
        let width = if day == 1 { 4 } else { 5 };
        ruler += &format!("{label:<width$}");
        day = if day == 1 { 5 } else { day + 5 };
    }
    let width = "2025-01  ".len() + MONTH_DAYS as usize;
    ruler.truncate(width);
    format!("{ruler:<width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    #[test]
    fn a_short_span_has_a_row_a_month() {
        let state = |at: Day| match at.date().day() {
            1 => Some(State::Partial),
            2 => Some(State::Dirty),
            3 => None,
            4 => Some(State::Empty),
            5 => Some(State::Expired),
            6 => Some(State::Provisional),
            _ => Some(State::Settled),
        };
        let drawn = calendar(day("2024-01-29"), day("2024-03-03"), state, Style::Plain);
        let want = [
            "         1   5    10   15   20   25   30",
            "2024-01                              ###",
            "2024-02  %!.-xo#######################",
            "2024-03  %!.",
        ];
        assert_eq!(drawn.lines().collect::<Vec<_>>(), want);
    }

    #[test]
    fn years_have_their_halves_side_by_side_within_100_columns() {
        let drawn = calendar(day("2016-08-31"), day("2025-12-31"), |_| Some(State::Settled), Style::Plain);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines.len(), 1 + 5 + 9 * 6, "{drawn}");
        assert!(lines.iter().all(|line| line.len() <= 100));
        assert!(lines[1].trim_start().starts_with("2016-08"));
        assert_eq!(lines[6].split_whitespace().collect::<Vec<_>>()[..3], ["2017-01", &"#".repeat(31), "2017-07"]);
        assert_eq!(drawn.matches('#').count(), 3410);
    }

    #[test]
    fn every_cell_is_told_apart_without_colour() {
        for style in [Style::Plain, Style::Colour] {
            let symbols: std::collections::BTreeSet<String> =
                CELLS.iter().map(|cell| style.draw(*cell).chars().filter(|c| !c.is_ascii_digit()).collect()).collect();
            assert_eq!(symbols.len(), CELLS.len());
        }
        assert!(legend(Style::Plain).is_ascii());
    }
}
