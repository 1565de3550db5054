use std::sync::Arc;

use object_store::memory::InMemory;
use parquet::file::reader::{ChunkReader, Length};

use super::*;
use crate::error::Kind;
use crate::lake::layout::TableName;
use crate::lake::layout::{Dataset, LakePath, Month, RecordName};
use crate::lake::testing::{at, batch, day, run_id, specs};

fn bucket(prefix: &str) -> (Arc<InMemory>, Bucket) {
    let objects = Arc::new(InMemory::new());
    let name = format!("s3://bucket/{prefix}");
    let bucket = Bucket::new(Arc::clone(&objects) as Arc<dyn ObjectStore>, Path::from(prefix), name).unwrap();
    (objects, bucket)
}

fn record(n: u128) -> LakePath {
    let name = RecordName::receipt(day("2025-01-01"), at("2025-02-01T00:00:00Z"), run_id(n), n);
    LakePath::Record(Dataset::Conversations, Month::of(day("2025-01-01")), name)
}

#[test]
fn what_is_written_is_listed_read_and_removed() {
    for prefix in ["", "a/b"] {
        let (_, bucket) = bucket(prefix);
        let places: Vec<LakePath> = (0..40).map(record).collect();
        for (n, place) in places.iter().enumerate() {
            bucket.write(place, Bytes::from(n.to_string())).unwrap();
        }
        assert_eq!(bucket.list_root().unwrap(), ["_convlake"]);
        assert_eq!(bucket.list(&LakePath::Ledger(Dataset::Conversations)).unwrap(), ["2025-01"]);
        assert_eq!(bucket.list(&places[0].folder().unwrap()).unwrap().len(), 40);
        assert_eq!(bucket.list(&LakePath::Probes).unwrap(), Vec::<String>::new());
        let read = bucket.read_all(&[record(7), record(99), record(3)]).unwrap();
        assert_eq!(read, [Some(Bytes::from("7")), None, Some(Bytes::from("3"))], "in the order of the places");
        bucket.remove_all(&places).unwrap();
        bucket.remove_all(&places[..1]).unwrap();
        assert_eq!(bucket.list_root().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn an_open_object_stays_the_version_it_was() {
    let (_, bucket) = bucket("lake");
    let place = record(1);
    assert!(bucket.open(&place).unwrap().is_none());
    let long: Vec<u8> = (0..(3 * TAIL_BYTES)).map(|n| n as u8).collect();
    bucket.write(&place, long.clone().into()).unwrap();
    let object = bucket.open(&place).unwrap().unwrap();
    assert_eq!(object.len(), long.len() as u64);
    assert_eq!(object.get_bytes(10, 20).unwrap(), long[10..30]);
    let end = long.len() - 5;
    assert_eq!(object.get_bytes(end as u64, 5).unwrap(), long[end..]);
    assert!(object.get_bytes(end as u64, 6).is_err(), "behind the end there is nothing");
    let mut all = Vec::new();
    std::io::Read::read_to_end(&mut object.get_read(0).unwrap(), &mut all).unwrap();
    assert_eq!(all, long);

    bucket.write(&place, Bytes::from_static(b"short")).unwrap();
    assert!(object.get_bytes(10, 20).is_err(), "another version is not mixed in");
    assert_eq!(bucket.open(&place).unwrap().unwrap().get_bytes(0, 5).unwrap(), "short");
}

#[test]
fn an_empty_object_can_be_opened() {
    let (_, bucket) = bucket("lake");
    bucket.write(&record(1), Bytes::new()).unwrap();
    assert_eq!(bucket.open(&record(1)).unwrap().unwrap().len(), 0);
}

#[test]
fn writes_on_condition_are_done_once() {
    let (_, bucket) = bucket("lake");
    let place = LakePath::Identity;
    assert!(bucket.create(&place, Bytes::from_static(b"a")).unwrap());
    assert!(!bucket.create(&place, Bytes::from_static(b"b")).unwrap());
    let (text, tag) = bucket.read_tagged(&place).unwrap().unwrap();
    assert_eq!(text, "a");
    assert!(bucket.replace(&place, Bytes::from_static(b"c"), tag.clone()).unwrap());
    assert!(!bucket.replace(&place, Bytes::from_static(b"d"), tag).unwrap());
    assert_eq!(bucket.read(&place).unwrap().unwrap(), "c");
}

#[test]
fn a_store_with_conditions_passes_the_probe_and_keeps_nothing_of_it() {
    let (_, bucket) = bucket("lake");
    let dead = uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1_700_000_000, 0));
    bucket.write(&LakePath::Probe(dead), Bytes::from_static(b"left by a run that died")).unwrap();
    bucket.probe().unwrap();
    assert_eq!(bucket.list_root().unwrap(), Vec::<String>::new());
}

/// Two processes on one bucket have a runtime each; a panic of one must not hold the other.
#[test]
fn a_bucket_may_be_dropped_inside_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (_, bucket) = bucket("lake");
        bucket.write(&record(1), Bytes::from_static(b"x")).unwrap();
    });
}

#[test]
fn an_error_names_the_object_and_hides_signatures() {
    let (_, bucket) = bucket("lake");
    let told = "cannot get https://account.blob/c/x?sv=1&sig=hunter2 now";
    let error = StoreError::Generic { store: "S3", source: told.into() };
    let error = bucket.failed("read", "sessions", error);
    let text = std::iter::successors(std::error::Error::source(&error), |e| e.source()).map(ToString::to_string);
    let text = [error.to_string()].into_iter().chain(text).collect::<Vec<_>>().join(": ");
    assert_eq!(error.kind(), Kind::Storage);
    assert!(
        text.contains("cannot read `s3://bucket/lake/sessions`") && text.contains("https://account.blob/c/x?…"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn an_error_does_not_show_what_the_store_was_told() {
    let (key, token) = ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "IQoJb3JpZ2luX2VjEXAMPLE+token/of=the==session");
    let (_, bucket) = bucket("lake");
    let bucket = bucket.hiding([key, token]);
    let encoded: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
    let said = format!("<Error>{key} {encoded}\n authorization: Bearer ya29.a0AfB_byC-of-somebody</Error>");
    let error = bucket.failed("read", "sessions", StoreError::Generic { store: "S3", source: said.into() }).to_string();
    assert!(error.contains("<Error>[secret] [secret] authorization: Bearer [secret]</Error>"), "{error}");
}

/// A file with this label, `padding` bytes before its first: a footer is found from the end.
fn labelled(folder: &std::path::Path, uuid: uuid::Uuid, padding: u64) -> std::path::PathBuf {
    use crate::lake::encode::{Known, Label, encode};
    use crate::lake::testing::assemble;
    let (date, specs) = (day("2025-01-01"), specs(0));
    let rows = vec![batch(date, &specs, &[])].into();
    let assembled = assemble(&specs, &rows, &date.interval()).unwrap();
    let observed_at = at("2025-02-01T00:00:00Z");
    let order = crate::lake::Order::observed(1, observed_at, run_id(1));
    let label = Label { uuid, day: date, order, of: None, observed_at };
    let path = folder.join(uuid.to_string());
    let (_, mut written) = encode(
        std::fs::File::create_new(&path).unwrap(),
        assembled.tables[0].spec,
        assembled.tables[0].pieces(),
        &label,
        &Known::default(),
    )
    .unwrap();
    std::io::Write::flush(&mut written).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(padding).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, padding).unwrap();
    path
}

#[test]
fn a_slot_is_swapped_once_whatever_its_size() {
    let temp = tempfile::tempdir().unwrap();
    let slot = LakePath::Part(TableName::new("conversations").unwrap(), day("2025-01-01"));
    for padding in [0, (256 << 20) + 5] {
        let (_, bucket) = bucket("lake");
        let ids = [1, 2, 3].map(|n| uuid::Uuid::from_u128(n + u128::from(padding)));
        let files = ids.map(|id| labelled(temp.path(), id, padding));
        let swap = |n: usize, expected: &Expected| bucket.swap(&files[n], &slot, ids[n], expected).unwrap();
        assert_eq!(swap(0, &Expected::Nothing), Swap::Done);
        assert_eq!(swap(0, &Expected::Nothing), Swap::Done, "an answer that was lost is found out by reading back");
        let first = Expected::Version(bucket.open(&slot).unwrap().unwrap().tag().clone());
        assert_eq!(swap(1, &first), Swap::Done);
        if padding == 0 {
            assert_eq!(swap(2, &first), Swap::Lost);
            assert_eq!(swap(2, &Expected::Nothing), Swap::Lost);
        }
        let stands = bucket.open(&slot).unwrap().unwrap();
        assert_eq!(crate::lake::slot::read_label(&stands).unwrap().unwrap().uuid, ids[1]);
        assert_eq!(stands.len(), files[1].metadata().unwrap().len());
    }
}
