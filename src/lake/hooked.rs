//! A store in memory that does something else at one of its calls, or answers no more after another, for tests.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

/// What is done at the call.
type Hook = Box<dyn FnOnce() + Send>;

pub(crate) struct Hooked {
    objects: Arc<InMemory>,
    calls: AtomicUsize,
    at: usize,
    hook: Mutex<Option<Hook>>,
    last: AtomicUsize,
}

impl Hooked {
    /// Does `hook` before the call number `at`, from 0.
    pub(crate) fn at(objects: Arc<InMemory>, at: usize, hook: impl FnOnce() + Send + 'static) -> Arc<Hooked> {
        let hook: Hook = Box::new(hook);
        let last = AtomicUsize::new(usize::MAX);
        Arc::new(Hooked { objects, calls: AtomicUsize::new(0), at, hook: Mutex::new(Some(hook)), last })
    }

    /// Call number `last` is the last one that is answered.
    pub(crate) fn die_after(&self, last: usize) {
        self.last.store(last, Ordering::SeqCst);
    }

    fn step(&self) -> Result<()> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if call == self.at
            && let Some(hook) = self.hook.lock().unwrap().take()
        {
            // On a thread of its own: this one is of a runtime, and the hook waits for another.
            std::thread::spawn(hook).join().unwrap();
        }
        if call > self.last.load(Ordering::SeqCst) {
            return Err(object_store::Error::Generic { store: "hooked", source: "the run has died".into() });
        }
        Ok(())
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

impl fmt::Display for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hooked")
    }
}

#[async_trait]
impl ObjectStore for Hooked {
    async fn put_opts(&self, place: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.step()?;
        self.objects.put_opts(place, payload, options).await
    }

    async fn put_multipart_opts(&self, place: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.step()?;
        self.objects.put_multipart_opts(place, options).await
    }

    async fn get_opts(&self, place: &Path, options: GetOptions) -> Result<GetResult> {
        self.step()?;
        self.objects.get_opts(place, options).await
    }

    fn delete_stream(&self, places: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.step() {
            Ok(()) => self.objects.delete_stream(places),
            Err(e) => futures::stream::once(async { Err(e) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.step() {
            Ok(()) => self.objects.list(prefix),
            Err(e) => futures::stream::once(async { Err(e) }).into_stream().boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.step()?;
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.step()?;
        self.objects.copy_opts(from, to, options).await
    }
}
