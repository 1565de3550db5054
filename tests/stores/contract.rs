//! What a lake relies on, asked of the servers themselves: a store that fails here is no place for a lake, and a
//! server that fails here no proof of anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutResult, UpdateVersion,
};

use crate::servers::{Bucket, Kind, runtime};

/// How many race.
const RACERS: usize = 16;
/// More than a page of any store's listing.
const MANY: usize = 1_001;
const PART: usize = 5 << 20;

/// Runs `case` with the client of a bucket, which has a key for each name of its own.
fn with<F: Future<Output = Result<(), Error>>>(kind: Kind, case: impl FnOnce(Arc<dyn ObjectStore>) -> F) {
    let bucket = Bucket::of(kind).expect("a store with buckets");
    runtime().block_on(case(Arc::clone(&bucket.client))).expect("the store answers");
}

async fn read(store: &dyn ObjectStore, key: &Path) -> Result<Vec<u8>, Error> {
    Ok(store.get(key).await?.bytes().await?.into())
}

fn creating() -> PutOptions {
    PutMode::Create.into()
}

fn replacing(version: &PutResult) -> PutOptions {
    PutMode::Update(UpdateVersion { e_tag: version.e_tag.clone(), version: version.version.clone() }).into()
}

pub(crate) fn an_object_is_read_whole_and_in_parts(kind: Kind) {
    with(kind, async |store| {
        let key = Path::from("read/date=2025-01-01/x.parquet");
        let put = store.put(&key, "hello world".into()).await?;
        assert_eq!(read(&*store, &key).await?, b"hello world");
        let met = store.head(&key).await?;
        assert_eq!((met.size, &met.e_tag), (11, &put.e_tag));
        assert_eq!(&store.get_range(&key, 6..11).await?[..], b"world");
        assert_eq!(store.get_ranges(&key, &[0..2, 9..11]).await?, ["he", "ld"]);
        if kind != Kind::Azurite {
            // Azure has no word for it.
            let last = GetOptions { range: Some(GetRange::Suffix(5)), ..GetOptions::default() };
            assert_eq!(&store.get_opts(&key, last).await?.bytes().await?[..], b"world");
        }
        Ok(())
    });
}

pub(crate) fn keys_are_any_text(kind: Kind) {
    with(kind, async |store| {
        for name in ["keys/sp ace/é+plus&amp.bin", "keys/pct%25/eq=1/col:2.bin"] {
            let key = Path::from(name);
            store.put(&key, name.into()).await?;
            assert_eq!(read(&*store, &key).await?, name.as_bytes());
            let folder = Path::from_iter(key.parts().take(2));
            let listed: Vec<_> = store.list(Some(&folder)).map_ok(|object| object.location).try_collect().await?;
            assert_eq!(listed, [key]);
        }
        Ok(())
    });
}

pub(crate) fn what_is_not_there_is_not_found(kind: Kind) {
    with(kind, async |store| {
        let key = Path::from("missing/x");
        assert!(matches!(store.head(&key).await, Err(Error::NotFound { .. })));
        assert!(matches!(store.get(&key).await, Err(Error::NotFound { .. })));
        assert!(store.list(Some(&"missing".into())).next().await.is_none());
        store.put(&key, "".into()).await?;
        store.delete(&key).await?;
        assert!(matches!(store.get(&key).await, Err(Error::NotFound { .. })));
        Ok(())
    });
}

/// Lets many put at once; the content of those that could, and what the others were told.
async fn race(store: &dyn ObjectStore, key: &Path, how: &PutOptions) -> (Vec<String>, Vec<Error>) {
    let put = |n: usize| async move {
        let content = format!("racer {n}");
        store.put_opts(key, content.clone().into(), how.clone()).await.map(|_| content)
    };
    let done: Vec<_> = futures::stream::iter((0..RACERS).map(put)).buffer_unordered(RACERS).collect().await;
    let (won, lost): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
    (won.into_iter().flatten().collect(), lost.into_iter().filter_map(Result::err).collect())
}

/// One has won, and what is there is its content.
fn assert_won(kind: Kind, won: &[String], held: Vec<u8>) -> String {
    if kind == Kind::S3s {
        // It looks and then writes, and is not the only server here for that reason.
        assert!(!won.is_empty());
    } else {
        assert_eq!(won.len(), 1, "{won:?}");
    }
    let held = String::from_utf8(held).expect("text");
    assert!(won.contains(&held), "{held} is none of {won:?}");
    held
}

pub(crate) fn of_many_that_create_an_object_one_does(kind: Kind) {
    with(kind, async |store| {
        let key = Path::from("created/x");
        let (won, lost) = race(&*store, &key, &creating()).await;
        assert!(lost.iter().all(|error| matches!(error, Error::AlreadyExists { .. })), "{lost:?}");
        let held = assert_won(kind, &won, read(&*store, &key).await?);
        let late = store.put_opts(&key, "late".into(), creating()).await;
        assert!(matches!(late, Err(Error::AlreadyExists { .. })), "{late:?}");
        assert_eq!(read(&*store, &key).await?, held.as_bytes());
        Ok(())
    });
}

pub(crate) fn of_many_that_replace_a_version_one_does(kind: Kind) {
    with(kind, async |store| {
        let key = Path::from("replaced/x");
        let first = store.put(&key, "first".into()).await?;
        let second = store.put_opts(&key, "second".into(), replacing(&first)).await?;
        let stale = store.put_opts(&key, "stale".into(), replacing(&first)).await;
        assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
        assert_eq!(read(&*store, &key).await?, b"second");

        let (won, lost) = race(&*store, &key, &replacing(&second)).await;
        assert!(lost.iter().all(|error| matches!(error, Error::Precondition { .. })), "{lost:?}");
        assert_won(kind, &won, read(&*store, &key).await?);
        Ok(())
    });
}

pub(crate) fn an_upload_in_parts_appears_when_it_is_complete(kind: Kind) {
    with(kind, async |store| {
        let content: Vec<u8> = (0..PART + 7).map(|n| (n % 251) as u8).collect();
        let (key, dropped) = (Path::from("parts/whole"), Path::from("parts/dropped"));
        let mut upload = store.put_multipart(&key).await?;
        let parts = content.chunks(PART).map(|part| upload.put_part(part.to_vec().into()));
        // The last one first: parts arrive in any order.
        let mut parts: Vec<_> = parts.collect();
        while let Some(part) = parts.pop() {
            part.await?;
        }
        assert!(matches!(store.head(&key).await, Err(Error::NotFound { .. })));
        upload.complete().await?;
        assert!(read(&*store, &key).await? == content, "what is read back is not what was sent");

        let mut upload = store.put_multipart(&dropped).await?;
        upload.put_part(content.into()).await?;
        upload.abort().await?;
        assert!(matches!(store.head(&dropped).await, Err(Error::NotFound { .. })));
        Ok(())
    });
}

pub(crate) fn a_listing_of_many_pages_is_complete(kind: Kind) {
    with(kind, async |store| {
        let keys: BTreeSet<_> = (0..MANY).map(|n| Path::from(format!("many/d={}/{n:05}", n % 7))).collect();
        let puts = keys.iter().map(|key| store.put(key, "x".into()));
        futures::stream::iter(puts).buffer_unordered(RACERS).try_collect::<Vec<_>>().await?;
        let listed: Vec<_> = store.list(Some(&"many".into())).map_ok(|object| object.location).try_collect().await?;
        assert_eq!(listed.len(), MANY);
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), keys);
        let folders = store.list_with_delimiter(Some(&"many".into())).await?;
        assert_eq!((folders.common_prefixes.len(), folders.objects.len()), (7, 0));
        // A prefix is whole names: `many/d=1` and not all that begins so.
        assert!(store.list(Some(&"many/d=".into())).next().await.is_none());
        Ok(())
    });
}
