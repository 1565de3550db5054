//! `--from`, `--to`, `--last`: a half-open UTC range out of dates, timestamps and relative times.

use chrono::TimeDelta;

use crate::error::{Error, Result};
use crate::time::{Day, Days, Interval, Timestamp, parse_timestamp, wire_time};

/// Which conversations, by the day and time they started.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Range")]
pub(super) struct RangeArgs {
    /// First instant: `2025-01-01`, an RFC 3339 timestamp, or relative as in `-7d` (midnight UTC 7 days ago) and `-6h`
    #[arg(long, env = "CONVLAKE_FROM", value_name = "TIME", allow_hyphen_values = true)]
    pub(super) from: Option<String>,
    /// First instant after the range (exclusive), written like --from; an end in the future is clipped to now
    #[arg(long, env = "CONVLAKE_TO", value_name = "TIME", allow_hyphen_values = true)]
    pub(super) to: Option<String>,
    /// Instead of --from and --to: from midnight UTC so many days ago until now, as in `7d`
    #[arg(long, env = "CONVLAKE_LAST", value_name = "DAYS", conflicts_with_all = ["from", "to"])]
    pub(super) last: Option<String>,
}

/// A range that has been looked at: never empty, never in the future.
#[derive(Clone, Debug)]
pub(super) struct Range {
    /// What will be asked for.
    pub(super) asked: Interval,
    /// What the operator should know about it, one line each.
    pub(super) notes: Vec<String>,
}

impl RangeArgs {
    /// The range at `now`.
    ///
    /// # Errors
    /// Usage: a bound is missing or unreadable, the range is empty or reversed, or it starts in the future.
    pub(super) fn resolve(&self, now: Timestamp) -> Result<Range> {
        let mut notes = Vec::new();
        let (from, to) = match (&self.last, &self.from, &self.to) {
            (Some(last), _, _) => (instant(&format!("-{last}"), "last", now)?, now),
            (None, Some(from), Some(to)) => {
                if to.contains("23:59:59") {
                    notes.push(format!(
                        "--to {to} is exclusive: the last second of that day is left out; write the next midnight to include it"
                    ));
                }
                (instant(from, "from", now)?, instant(to, "to", now)?)
            }
            _ => {
                return Err(Error::usage("a range needs both --from and --to")
                    .hint("`--from 2025-01-01 --to 2026-01-01`, or `--last 7d`"));
            }
        };
        if from >= now {
            return Err(Error::usage(format!("the range starts in the future: {}", wire_time(from)))
                .hint(format!("it is {} now; times are UTC", wire_time(now))));
        }
        let asked = Interval::new(from, to)?;
        if to <= now {
            return Ok(Range { asked, notes });
        }
        notes.push(format!("--to {} lies in the future and is clipped to now, {}", wire_time(to), wire_time(now)));
        Ok(Range { asked: Interval::new(from, now)?, notes })
    }
}

/// Which days of a lake are looked at; all of them unless a bound is said.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Range")]
pub(super) struct DaysArgs {
    /// First day: `2025-01-01`, or relative as in `-7d`
    #[arg(long, env = "CONVLAKE_FROM", value_name = "DAY", allow_hyphen_values = true)]
    from: Option<String>,
    /// First day after the range (exclusive), written like --from
    #[arg(long, env = "CONVLAKE_TO", value_name = "DAY", allow_hyphen_values = true)]
    to: Option<String>,
}

impl DaysArgs {
    /// The days at `now`; one of which the range holds a part is among them.
    ///
    /// # Errors
    /// Usage: a bound is unreadable, or the range is empty or reversed.
    pub(super) fn resolve(&self, now: Timestamp) -> Result<Days> {
        let bound = |text: &Option<String>, flag| text.as_deref().map(|text| instant(text, flag, now)).transpose();
        let (from, to) = (bound(&self.from, "from")?, bound(&self.to, "to")?);
        if let (Some(from), Some(to)) = (from, to) {
            Interval::new(from, to)?;
        }
        let behind = |to: Timestamp| if Day::of(to).start() == to { Day::of(to) } else { Day::of(to).next() };
        Ok(Days { from: from.map(Day::of), to: to.map(behind) })
    }
}

/// Reads a day that has begun: a date, or relative as in `-400d`.
///
/// # Errors
/// Usage: it is none, or lies in the future.
pub(super) fn past_day(text: &str, flag: &str, now: Timestamp) -> Result<Day> {
    let at = instant(text, flag, now)?;
    let day = Day::of(at);
    if day.start() != at {
        return Err(Error::usage(format!("--{flag}: `{text}` is not a whole day")).hint("a date, or as in `-400d`"));
    }
    if at > now {
        return Err(Error::usage(format!("--{flag}: {day} lies in the future"))
            .hint(format!("it is {} now; days are UTC", wire_time(now))));
    }
    Ok(day)
}

/// Reads one bound. Whole milliseconds: the API's own grain.
pub(super) fn instant(text: &str, flag: &str, now: Timestamp) -> Result<Timestamp> {
    if let Ok(day) = text.parse::<Day>() {
        return Ok(day.start());
    }
    if let Some(at) = parse_timestamp(text) {
        return Ok(at);
    }
    if let Some(at) = relative(text, now) {
        return Ok(at);
    }
    Err(Error::usage(format!("--{flag}: `{text}` is not a time")).hint(
        "a date (`2025-01-31`), a timestamp with a zone (`2025-01-31T08:00:00Z`), or a relative time (`-7d`, `-6h`)",
    ))
}

/// `-7d` is the midnight that began the day 7 days ago; `-6h` and `-90m` count from now.
fn relative(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.strip_prefix('-')?;
    let unit = text.chars().next_back()?;
    let amount: u32 = text.strip_suffix(unit)?.parse().ok()?;
    let amount = i64::from(amount);
    match unit {
        'd' => Some(Day::of(now).plus(-amount).start()),
        'h' => now.checked_sub_signed(TimeDelta::hours(amount)),
        'm' => now.checked_sub_signed(TimeDelta::minutes(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn resolve(from: &str, to: &str) -> Result<Range> {
        let now = parse_timestamp("2026-03-10T12:30:00Z").unwrap();
        RangeArgs { from: Some(from.into()), to: Some(to.into()), last: None }.resolve(now)
    }

    #[test]
    fn a_day_has_to_have_begun() {
        let now = parse_timestamp("2026-03-10T12:30:00Z").unwrap();
        for (text, want) in [("2026-03-10", "2026-03-10"), ("-0d", "2026-03-10"), ("-400d", "2025-02-03")] {
            assert_eq!(past_day(text, "before", now).unwrap().to_string(), want);
        }
        for bad in ["2026-03-11", "-6h", "2026-03-01T06:00:00Z", "yesterday"] {
            assert_eq!(past_day(bad, "before", now).unwrap_err().kind(), Kind::Usage, "{bad}");
        }
    }

    #[test]
    fn dates_timestamps_and_relative_times_are_read() {
        for (from, to, want) in [
            ("2025-01-01", "2026-01-01", "2025-01-01T00:00:00.000Z/2026-01-01T00:00:00.000Z"),
            ("2025-01-01T02:00:00+02:00", "2025-01-02", "2025-01-01T00:00:00.000Z/2025-01-02T00:00:00.000Z"),
            ("-7d", "-0d", "2026-03-03T00:00:00.000Z/2026-03-10T00:00:00.000Z"),
            ("-6h", "-30m", "2026-03-10T06:30:00.000Z/2026-03-10T12:00:00.000Z"),
        ] {
            let range = resolve(from, to).unwrap();
            assert_eq!((range.asked.to_string(), range.notes), (want.to_string(), vec![]), "{from} {to}");
        }
    }

    #[test]
    fn an_end_in_the_future_is_clipped_and_said() {
        let range = resolve("2026-03-10", "2026-03-11").unwrap();
        assert_eq!(range.asked.to_string(), "2026-03-10T00:00:00.000Z/2026-03-10T12:30:00.000Z");
        assert!(range.notes[0].contains("clipped to now"), "{:?}", range.notes);
    }

    #[test]
    fn an_inclusive_end_is_warned_about() {
        let range = resolve("2023-10-01T00:00:00Z", "2023-10-01T23:59:59Z").unwrap();
        assert!(range.notes[0].contains("exclusive"), "{:?}", range.notes);
    }

    #[test]
    fn empty_reversed_future_and_unreadable_ranges_are_usage_errors() {
        for (from, to) in [
            ("2025-01-01", "2025-01-01"),
            ("2025-01-02", "2025-01-01"),
            ("2027-01-01", "2027-02-01"),
            ("yesterday", "2025-01-01"),
            ("2025-01-01T00:00:00", "2025-01-02"),
            ("-7w", "2025-01-02"),
        ] {
            assert_eq!(resolve(from, to).unwrap_err().kind(), Kind::Usage, "{from} {to}");
        }
        let alone = RangeArgs { from: Some("-7d".into()), to: None, last: None };
        let now = parse_timestamp("2026-03-10T12:30:00Z").unwrap();
        assert_eq!(alone.resolve(now).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn days_are_open_where_nothing_is_said_and_whole_where_a_part_is() {
        let now = parse_timestamp("2026-03-10T12:30:00Z").unwrap();
        let days = |from: Option<&str>, to: Option<&str>| {
            DaysArgs { from: from.map(str::to_owned), to: to.map(str::to_owned) }.resolve(now)
        };
        let day = |text: &str| Some(text.parse::<Day>().unwrap());
        assert_eq!(days(None, None).unwrap(), Days::default());
        let found = days(Some("-7d"), Some("2026-03-09T00:00:01Z")).unwrap();
        assert_eq!(found, Days { from: day("2026-03-03"), to: day("2026-03-10") });
        assert_eq!(days(None, Some("2026-03-09")).unwrap().to, day("2026-03-09"));
        assert_eq!(days(Some("2026-03-09"), Some("2026-03-08")).unwrap_err().kind(), Kind::Usage);
    }
}
