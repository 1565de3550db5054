//! A store in memory behind a bad line: what becomes of each call is decided by its number, and in which order several
//! runs call is decided by [`super::turns`]. A run is killed by failing every call from some number on.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use convlake::lake::Bucket;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::turns::Seat;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// What was asked for.
    Done,
    /// It does not arrive; the answer is an error.
    Lost,
    /// It is done; the answer is an error.
    Unanswered,
    /// A conditional write is refused although its condition holds, as S3 does when two meet; others are done.
    Refused,
    /// The answer is an error, and a write is done after this many more calls of anyone.
    Late(usize),
}

/// A call, as it arrives.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// From 0, within the line.
    pub(crate) number: usize,
    pub(crate) verb: Verb,
    pub(crate) path: Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Read,
    List,
    Write,
    WriteIf,
    Remove,
}

/// Decides about calls.
pub(crate) type Fates = Box<dyn Fn(&Call) -> Fate + Send + Sync>;

/// Objects in memory, and writes that are still on their way to them.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    stored: InMemory,
    calls: AtomicUsize,
    late: Mutex<Vec<Letter>>,
}

#[derive(Debug)]
struct Letter {
    due: usize,
    path: Path,
    payload: PutPayload,
    options: PutOptions,
}

impl Objects {
    /// A copy that goes its own way, without what is still on its way to this one.
    pub(crate) fn fork(&self) -> Arc<Objects> {
        Arc::new(Objects { stored: self.stored.fork(), ..Objects::default() })
    }

    /// A line to these objects on which every call is done.
    pub(crate) fn line(self: &Arc<Self>) -> Line {
        self.line_with(|_| Fate::Done)
    }

    /// A line to these objects on which `fates` decide.
    pub(crate) fn line_with(self: &Arc<Self>, fates: impl Fn(&Call) -> Fate + Send + Sync + 'static) -> Line {
        let plan = Plan { fates: Box::new(fates), seat: None };
        Line(Arc::new(Inner { objects: Arc::clone(self), calls: AtomicUsize::new(0), plan: Mutex::new(plan.into()) }))
    }

    /// Every object by its name.
    pub(crate) fn image(&self) -> super::image::Image {
        let listed: Vec<ObjectMeta> = at_once(self.stored.list(None).try_collect()).expect("a listing");
        let read = |meta: ObjectMeta| {
            let found = at_once(async { self.stored.get(&meta.location).await?.bytes().await });
            (meta.location.to_string(), found.expect("an object"))
        };
        listed.into_iter().map(read).collect()
    }

    /// Delivers what is due by now.
    async fn deliver(&self) {
        let now = self.calls.fetch_add(1, Ordering::SeqCst);
        let due: Vec<Letter> = self.letters().extract_if(.., |letter| letter.due <= now).collect();
        for letter in due {
            // Nobody waits for the answer any more.
            let _ = self.stored.put_opts(&letter.path, letter.payload, letter.options).await;
        }
    }

    /// Delivers all that is still on its way.
    pub(crate) fn deliver_all(&self) {
        self.calls.store(usize::MAX / 2, Ordering::SeqCst);
        at_once(self.deliver());
    }

    fn letters(&self) -> std::sync::MutexGuard<'_, Vec<Letter>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One run's way to the objects.
#[derive(Clone)]
pub(crate) struct Line(Arc<Inner>);

struct Inner {
    objects: Arc<Objects>,
    calls: AtomicUsize,
    plan: Mutex<Arc<Plan>>,
}

struct Plan {
    fates: Fates,
    seat: Option<Seat>,
}

impl Line {
    /// A lake's bucket at the other end.
    pub(crate) fn bucket(&self) -> Bucket {
        Bucket::new(Arc::new(self.clone()), Path::default(), "memory".to_owned()).expect("a bucket")
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// From the next call on, which is number 0 again, `fates` decide, and calls wait for their turn in `seat`, until
    /// what is returned is dropped.
    pub(crate) fn sit(&self, seat: Seat, fates: impl Fn(&Call) -> Fate + Send + Sync + 'static) -> Sitting {
        self.0.calls.store(0, Ordering::SeqCst);
        self.set(Plan { fates: Box::new(fates), seat: Some(seat) });
        Sitting(self.clone())
    }

    fn set(&self, plan: Plan) {
        *self.0.plan.lock().unwrap_or_else(PoisonError::into_inner) = plan.into();
    }

    async fn call<T>(&self, verb: Verb, path: &Path, done: impl Future<Output = Result<T>>) -> Result<T> {
        let (fate, turn) = self.arrive(verb, path).await;
        let answer = match fate {
            Fate::Lost | Fate::Late(_) => Err(broken()),
            Fate::Unanswered => done.await.and(Err(broken())),
            Fate::Done | Fate::Refused => done.await,
        };
        drop(turn);
        answer
    }

    /// What is to become of a call, when it is its turn.
    async fn arrive(&self, verb: Verb, path: &Path) -> (Fate, Option<super::turns::Turn>) {
        let number = self.0.calls.fetch_add(1, Ordering::SeqCst);
        let plan = Arc::clone(&*self.0.plan.lock().unwrap_or_else(PoisonError::into_inner));
        let fate = (plan.fates)(&Call { number, verb, path: path.clone() });
        let turn = match &plan.seat {
            // The dead wait for nobody.
            Some(seat) if fate != Fate::Lost => Some(seat.turn().await),
            _ => None,
        };
        self.0.objects.deliver().await;
        (fate, turn)
    }
}

/// A line that takes part in [`super::turns`], until this is dropped: also by a panic, for which nobody must wait.
pub(crate) struct Sitting(Line);

impl Drop for Sitting {
    fn drop(&mut self) {
        self.0.set(Plan { fates: Box::new(|_| Fate::Done), seat: None });
    }
}

/// Memory has nothing to wait for.
fn at_once<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().expect("an answer")
}

fn broken() -> Error {
    Error::Generic { store: "memory", source: "the line is broken".into() }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

#[async_trait]
impl ObjectStore for Line {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let conditional = options.mode != PutMode::Overwrite;
        let (fate, _turn) = self.arrive(if conditional { Verb::WriteIf } else { Verb::Write }, path).await;
        let objects = &self.0.objects;
        match fate {
            Fate::Lost => Err(broken()),
            Fate::Refused if conditional => {
                Err(Error::Precondition { path: path.to_string(), source: "another request is on its way".into() })
            }
            Fate::Done | Fate::Refused => objects.stored.put_opts(path, payload, options).await,
            Fate::Unanswered => objects.stored.put_opts(path, payload, options).await.and(Err(broken())),
            Fate::Late(after) => {
                let due = objects.calls.load(Ordering::SeqCst) + after;
                objects.letters().push(Letter { due, path: path.clone(), payload, options });
                Err(broken())
            }
        }
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.call(Verb::Write, path, self.0.objects.stored.put_multipart_opts(path, options)).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.call(Verb::Read, path, self.0.objects.stored.get_opts(path, options)).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let line = self.clone();
        let remove = move |path: Result<Path>| {
            let line = line.clone();
            async move {
                let path = path?;
                line.call(Verb::Remove, &path, line.0.objects.stored.delete(&path)).await?;
                Ok(path)
            }
        };
        paths.then(remove).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (line, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        let listed = async move {
            let all = line.0.objects.stored.list(Some(&prefix)).try_collect::<Vec<_>>();
            line.call(Verb::List, &prefix, all).await
        };
        futures::stream::once(listed).map_ok(|all| futures::stream::iter(all).map(Ok)).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        self.call(Verb::List, &path, self.0.objects.stored.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.call(Verb::Write, to, self.0.objects.stored.copy_opts(from, to, options)).await
    }
}
