//! A command's lake: where it is, and how it is opened on a thread that may wait for it.

use std::sync::Arc;

use super::args::{ChangedLakeArg, LakeArgs};
use super::credentials::Environment;
use super::place::LakeArg;
use super::repair::quoted;
use super::stores;
use super::text::count;
use crate::error::{Error, Result};
use crate::export;
use crate::flatten::{Catalog, Flattener};
use crate::lake::identity::{Identity, Selection};
use crate::lake::{Lake, Location, Store};
use crate::plan::Asked;
use crate::time::Day;

/// Where the lake is.
///
/// # Errors
/// Usage: none was named, or it is no place for a lake.
pub(super) fn location(lake: &LakeArg) -> Result<Location> {
    let named = lake.named.as_deref().ok_or_else(|| {
        Error::usage("no lake is named").hint("name it by position or with --out, or set CONVLAKE_LAKE")
    })?;
    Location::parse(named)
}

/// The lake as a report names it; a text that is no location may hold anything and is not repeated.
pub(super) fn named(text: &str) -> String {
    Location::parse(text).map(|location| location.to_string()).unwrap_or_default()
}

/// Opens the lake of a run, unless the operator stops it meanwhile: a store may take minutes to answer.
///
/// # Errors
/// Config: it is another lake, or none. Storage: it cannot be written. Usage: it was not named.
pub(super) async fn open_lake(
    args: &LakeArgs,
    env: &Environment,
    identity: Identity,
    stop: impl Future<Output = Error>,
) -> Result<Arc<Lake>> {
    let location = location(&args.place.at)?;
    let options = stores::options(env, args.place.single_writer);
    tokio::select! {
        opened = blocking(move || Lake::open(Store::connect(&location, &options)?, &identity)) => opened,
        error = stop => Err(error),
    }
}

/// A lake that is only looked at.
pub(super) struct Opened {
    pub(super) lake: Arc<Lake>,
    pub(super) location: Location,
}

/// The lake that a run would write to, if it is there; nothing is written to it.
///
/// # Errors
/// Config: it is of a later version. Storage: it cannot be read. Usage: it was not named.
pub(super) async fn find_lake(args: &LakeArgs, env: &Environment) -> Result<Option<Arc<Lake>>> {
    let location = location(&args.place.at)?;
    let options = stores::options(env, args.place.single_writer);
    blocking(move || Lake::find(Store::connect(&location, &options)?)).await
}

/// The lake that is named, if one is and it is there; nothing is written to it.
///
/// # Errors
/// Those of [`find_lake`].
pub(super) async fn named_lake(named: &LakeArg, env: &Environment) -> Result<Option<Arc<Lake>>> {
    if named.named.is_none() {
        return Ok(None);
    }
    let (location, options) = (location(named)?, stores::options(env, false));
    blocking(move || Lake::find(Store::connect(&location, &options)?)).await
}

/// The days of `asked` that have expired in `lake`.
///
/// # Errors
/// Storage: it cannot be read.
pub(super) async fn expired(lake: &Arc<Lake>, asked: &Asked) -> Result<Vec<Day>> {
    let (lake, asked) = (Arc::clone(lake), asked.clone());
    blocking(move || export::expired(&lake, &asked)).await
}

/// What is to be said of days that have expired, and what brings them back to the lake `named`.
pub(super) fn tell_expired(days: &[Day], named: &LakeArg) -> Option<String> {
    let (first, last) = days.first().zip(days.last())?;
    let lake = named.named.as_deref().map_or(String::new(), |lake| format!(" --out {}", quoted(lake)));
    Some(format!(
        "{} from {first} to {last} expired and are not asked for; `convlake expire --undo --since {first} --before {}{lake}` \
         makes them due again",
        count(days.len() as u64, "day"),
        last.next(),
    ))
}

/// Opens a lake that is only looked at; nothing is written to it.
///
/// # Errors
/// Config: there is none. Storage: it cannot be read. Usage: it was not named.
pub(super) async fn existing_lake(named: &LakeArg, env: &Environment) -> Result<Opened> {
    let location = location(named)?;
    let (options, at) = (stores::options(env, false), location.clone());
    let lake = blocking(move || Lake::open_existing(Store::connect(&at, &options)?)).await?;
    Ok(Opened { lake, location })
}

/// Does what waits for a disk or a store on a thread that may.
///
/// # Errors
/// Those of `work`.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::bug("a thread died").source(e))?
}

/// Opens the lake of a run that adds to what an export of `source` began: what it leaves out is as it was.
///
/// # Errors
/// Config: there is no lake, or one of another source; otherwise those of [`open_lake`].
pub(super) async fn open_known_lake(
    args: &LakeArgs,
    env: &Environment,
    source: &str,
    stop: impl Future<Output = Error>,
) -> Result<Arc<Lake>> {
    let location = location(&args.place.at)?;
    let options = stores::options(env, args.place.single_writer);
    let source = source.to_owned();
    let open = move || {
        let store = Store::connect(&location, &options)?;
        let known = Lake::open_existing(store.clone())?.identity().clone();
        Lake::open(store, &Identity { source, ..known })
    };
    tokio::select! {
        opened = blocking(open) => opened,
        error = stop => Err(error),
    }
}

/// Opens a lake that exists by `open` and does `work` with it, unless the operator stops it meanwhile.
///
/// # Errors
/// Config: there is no lake. Usage: it was not named. Those of `work`.
pub(super) async fn with_lake<T: Send + 'static>(
    args: &ChangedLakeArg,
    env: &Environment,
    stop: impl Future<Output = Error>,
    open: fn(Store) -> Result<Arc<Lake>>,
    work: impl FnOnce(Arc<Lake>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let location = location(&args.at)?;
    let options = stores::options(env, args.single_writer);
    tokio::select! {
        done = blocking(move || work(open(Store::connect(&location, &options)?)?)) => done,
        error = stop => Err(error),
    }
}

/// The columns that a lake holds.
///
/// # Errors
/// Usage: it holds some that this version does not know.
pub(super) fn flattener_of(lake: &Lake) -> Result<Flattener> {
    let Selection { tables, excluded, .. } = &lake.identity().selection;
    let dimensions = Catalog::dimensions()?;
    let excluded: Vec<_> = excluded.iter().filter(|column| !dimensions.has_table_of(column)).cloned().collect();
    Flattener::new(Arc::new(Catalog::builtin()?.select(tables.as_deref(), &excluded)?.with(lake.columns())))
}
