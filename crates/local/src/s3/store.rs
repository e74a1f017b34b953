//! The store: buckets, objects, and changes under a condition.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use s3s::{
    S3Error, S3Result,
    dto::{Checksum, ETag, ETagCondition},
    s3_error,
};
use serde::{Deserialize, Serialize};

use super::{
    journal::{Journal, modified_ns},
    multipart::Uploads,
    paths::{elsewhere, path_of},
};
use crate::error::LocalError;

/// What is known of an object besides its body.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ObjectInfo {
    pub(crate) key: String,
    /// Below the bucket's folder.
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) modified_ns: u64,
    /// Without quotes.
    pub(crate) etag: String,
    #[serde(flatten)]
    pub(crate) attributes: Attributes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc32: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc32c: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc64nvme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
}

/// What a client says about an object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Attributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
}

impl ObjectInfo {
    pub(crate) fn set_checksum(&mut self, checksum: Checksum) {
        self.crc32 = checksum.checksum_crc32;
        self.crc32c = checksum.checksum_crc32c;
        self.crc64nvme = checksum.checksum_crc64nvme;
        self.sha1 = checksum.checksum_sha1;
        self.sha256 = checksum.checksum_sha256;
    }
}

/// The conditions that a write or read may carry.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
}

impl Condition {
    /// Whether an object may be written over `now`. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
    fn check_write(&self, now: Option<&ObjectInfo>) -> S3Result<()> {
        if let Some(wanted) = &self.if_match {
            let Some(now) = now else { return Err(s3_error!(NoSuchKey, "The specified key does not exist.")) };
            if !matches(wanted, &now.etag) {
                return Err(precondition_failed());
            }
        }
        if let (Some(unwanted), Some(now)) = (&self.if_none_match, now)
            && matches(unwanted, &now.etag)
        {
            return Err(precondition_failed());
        }
        Ok(())
    }
}

pub(crate) fn precondition_failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

/// Whether an entity tag is the one that a condition names.
pub(crate) fn matches(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(ETag::Strong(wanted) | ETag::Weak(wanted)) => wanted == etag,
    }
}

/// A change that others are told of.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// Such as `ObjectCreated:Put`.
    pub(crate) event: &'static str,
    pub(crate) bucket: String,
    pub(crate) info: Arc<ObjectInfo>,
    /// Grows with every change.
    pub(crate) sequence: u64,
}

type Listener = Box<dyn Fn(Change) + Send + Sync>;

#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    folder: PathBuf,
    pub(crate) created_ns: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) objects: BTreeMap<String, Arc<ObjectInfo>>,
    journal: Journal,
}

pub(crate) struct Store {
    root: PathBuf,
    buckets: RwLock<BTreeMap<String, Arc<Bucket>>>,
    pub(crate) uploads: Uploads,
    listener: RwLock<Option<Listener>>,
    sequence: AtomicU64,
    temporary: AtomicU64,
}

/// Journals, temporary files and parts. No bucket's name begins with a dot.
const ASIDE: &str = ".store";

impl Store {
    /// Opens the store in `root`, with all buckets that are there.
    pub(crate) fn open(root: &Path) -> Result<Self, LocalError> {
        let aside = root.join(ASIDE);
        let temporary = aside.join("temporary");
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(LocalError::file("empty", &temporary))?;
        }
        fs::create_dir_all(&temporary).map_err(LocalError::file("create", &temporary))?;
        let store = Self {
            root: root.to_owned(),
            buckets: RwLock::default(),
            uploads: Uploads::default(),
            listener: RwLock::default(),
            sequence: AtomicU64::new(start_of_sequence()),
            temporary: AtomicU64::new(0),
        };
        for entry in fs::read_dir(root).map_err(LocalError::file("read", root))? {
            let entry = entry.map_err(LocalError::file("read", root))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() && !name.starts_with('.') {
                store.open_bucket(&name).map_err(LocalError::file("read", entry.path()))?;
            }
        }
        Ok(store)
    }

    /// Who is told of changes.
    pub(crate) fn on_change(&self, listener: impl Fn(Change) + Send + Sync + 'static) {
        *self.listener.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(listener));
    }

    /// Makes a bucket; false if it was there.
    pub(crate) fn create_bucket(&self, name: &str) -> io::Result<bool> {
        if self.bucket(name).is_ok() {
            return Ok(false);
        }
        fs::create_dir_all(self.root.join(name))?;
        self.open_bucket(name)?;
        Ok(true)
    }

    fn open_bucket(&self, name: &str) -> io::Result<()> {
        let folder = self.root.join(name);
        let (journal, objects) = Journal::open(&self.root.join(ASIDE).join(format!("{name}.jsonl")), &folder)?;
        let created_ns = modified_ns(&fs::metadata(&folder)?)?;
        let bucket =
            Bucket { name: name.to_owned(), folder, created_ns, state: Mutex::new(State { objects, journal }) };
        self.buckets.write().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_insert(Arc::new(bucket));
        Ok(())
    }

    pub(crate) fn bucket(&self, name: &str) -> S3Result<Arc<Bucket>> {
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        buckets.get(name).cloned().ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }

    pub(crate) fn buckets(&self) -> Vec<Arc<Bucket>> {
        self.buckets.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A path for a file that is not an object yet.
    pub(crate) fn temporary_path(&self) -> PathBuf {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        self.root.join(ASIDE).join("temporary").join(number.to_string())
    }

    /// Makes a finished temporary file an object, if the condition holds. `info` needs key, ETag, attributes and
    /// checksums. The file is moved or, if that fails, removed.
    pub(crate) fn publish(
        &self,
        bucket: &str,
        mut info: ObjectInfo,
        file: &Path,
        condition: &Condition,
        event: &'static str,
    ) -> S3Result<Arc<ObjectInfo>> {
        let published = (|| {
            let bucket = self.bucket(bucket)?;
            let metadata = fs::metadata(file).map_err(internal)?;
            info.size = metadata.len();
            info.modified_ns = modified_ns(&metadata).map_err(internal)?;
            let mut state = bucket.lock();
            condition.check_write(state.objects.get(&info.key).map(Arc::as_ref))?;
            bucket.place(&mut state, &mut info, file).map_err(internal)?;
            let info = Arc::new(info);
            state.objects.insert(info.key.clone(), info.clone());
            self.tell(event, &bucket.name, &info);
            Ok(info)
        })();
        if published.is_err() {
            let _ = fs::remove_file(file);
        }
        published
    }

    /// Removes an object; false if there is none. `check` may forbid it.
    pub(crate) fn remove(
        &self,
        bucket: &str,
        key: &str,
        check: impl FnOnce(Option<&ObjectInfo>) -> S3Result<()>,
    ) -> S3Result<bool> {
        let bucket = self.bucket(bucket)?;
        let mut state = bucket.lock();
        let info = state.objects.get(key).cloned();
        check(info.as_deref())?;
        let Some(info) = info else { return Ok(false) };
        let path = bucket.folder.join(&info.path);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(internal(error)),
        }
        bucket.remove_empty_folders(&path);
        state.objects.remove(key);
        self.tell("ObjectRemoved:Delete", &bucket.name, &info);
        Ok(true)
    }

    /// An object's info and its open file, which stay one object whatever happens to the key meanwhile.
    pub(crate) fn read(&self, bucket: &str, key: &str) -> S3Result<(Arc<ObjectInfo>, File)> {
        let bucket = self.bucket(bucket)?;
        let state = bucket.lock();
        let info = state.objects.get(key).ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))?;
        let file = File::open(bucket.folder.join(&info.path)).map_err(internal)?;
        Ok((info.clone(), file))
    }

    pub(crate) fn info(&self, bucket: &str, key: &str) -> S3Result<Arc<ObjectInfo>> {
        let bucket = self.bucket(bucket)?;
        let state = bucket.lock();
        state.objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
    }

    fn tell(&self, event: &'static str, bucket: &str, info: &Arc<ObjectInfo>) {
        let listener = self.listener.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener.as_ref() {
            let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
            listener(Change { event, bucket: bucket.to_owned(), info: info.clone(), sequence });
        }
    }
}

impl Bucket {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves a file to where the key belongs and notes it in the journal.
    fn place(&self, state: &mut State, info: &mut ObjectInfo, file: &Path) -> io::Result<()> {
        let known = state.objects.get(&info.key).map(|now| now.path.clone());
        let plain = known.or_else(|| path_of(&info.key));
        if let Some(path) = plain {
            match self.move_to(state, info, file, path) {
                Ok(()) => return Ok(()),
                // `x` is wanted where the folder of `x/y` is, or the other way round; or the path is too long.
                Err(error) if !is_about_the_path(&error) => return Err(error),
                Err(_) => {}
            }
        }
        self.move_to(state, info, file, elsewhere(&info.key))
    }

    fn move_to(&self, state: &mut State, info: &mut ObjectInfo, file: &Path, path: PathBuf) -> io::Result<()> {
        let to = self.folder.join(&path);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        if to.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        info.path = path;
        state.journal.append(info)?;
        fs::rename(file, to)
    }

    fn remove_empty_folders(&self, path: &Path) {
        let mut folder = path.parent();
        while let Some(path) = folder.filter(|path| *path != self.folder) {
            if fs::remove_dir(path).is_err() {
                return;
            }
            folder = path.parent();
        }
    }
}

fn is_about_the_path(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::AlreadyExists
            | Kind::InvalidFilename
            | Kind::DirectoryNotEmpty
    )
}

pub(crate) fn internal(error: io::Error) -> S3Error {
    tracing::error!(%error, "the store failed");
    S3Error::with_source(s3s::S3ErrorCode::InternalError, Box::new(error))
}

/// Sequencers must grow across restarts: microseconds since 1970 leave room for a million changes a second.
fn start_of_sequence() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn info(key: &str, etag: &str) -> ObjectInfo {
        ObjectInfo { key: key.to_owned(), etag: etag.to_owned(), ..ObjectInfo::default() }
    }

    fn publish(store: &Store, info: ObjectInfo, condition: &Condition) -> S3Result<Arc<ObjectInfo>> {
        let file = store.temporary_path();
        fs::write(&file, &info.etag).unwrap();
        store.publish("lake", info, &file, condition, "ObjectCreated:Put")
    }

    /// Without SDK and HTTP in between the threads really meet.
    #[test]
    fn of_many_threads_one_creates_a_key() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        store.create_bucket("lake").unwrap();
        let barrier = Barrier::new(4);
        let wins = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for who in 0..4 {
                let (store, barrier, wins) = (&store, &barrier, &wins);
                scope.spawn(move || {
                    for key in 0..300 {
                        let condition = Condition { if_none_match: Some(ETagCondition::Any), if_match: None };
                        let file = store.temporary_path();
                        fs::write(&file, "x").unwrap();
                        let info = info(&format!("k/{key}"), &who.to_string());
                        barrier.wait();
                        if store.publish("lake", info, &file, &condition, "ObjectCreated:Put").is_ok() {
                            wins.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(wins.into_inner(), 300);
    }

    #[test]
    fn of_many_threads_none_loses_an_increment() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        store.create_bucket("lake").unwrap();
        publish(&store, info("counter", "0"), &Condition::default()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    let mut done = 0;
                    while done < 250 {
                        let file = store.temporary_path();
                        fs::write(&file, "x").unwrap();
                        let now = store.info("lake", "counter").unwrap().etag.clone();
                        let next = (now.parse::<u32>().unwrap() + 1).to_string();
                        let if_match = Some(ETagCondition::ETag(ETag::Strong(now)));
                        let condition = Condition { if_match, if_none_match: None };
                        let written = store.publish("lake", info("counter", &next), &file, &condition, "x");
                        done += usize::from(written.is_ok());
                    }
                });
            }
        });
        assert_eq!(store.info("lake", "counter").unwrap().etag, "1000");
    }

    /// Writers of one folder's last file and deleters of its last file meet.
    #[test]
    fn folders_come_and_go_under_load() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        store.create_bucket("lake").unwrap();
        std::thread::scope(|scope| {
            for who in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    for _ in 0..300 {
                        let key = format!("a/b/c/{who}");
                        publish(store, info(&key, "x"), &Condition::default()).unwrap();
                        assert!(store.read("lake", &key).is_ok());
                        assert!(store.remove("lake", &key, |_| Ok(())).unwrap());
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(root.path().join("lake")).unwrap().count(), 0);
    }

    /// Killed between the journal's line and the rename: the old object stands, with its own tag and type.
    #[test]
    fn a_change_that_was_cut_off_did_not_happen() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        store.create_bucket("lake").unwrap();
        let mut old = info("k", "old tag");
        old.attributes.content_type = Some("text/old".to_owned());
        publish(&store, old, &Condition::default()).unwrap();
        let cut_off = ObjectInfo { path: "k".into(), size: 3, modified_ns: 1, ..info("k", "new tag") };
        let bucket = store.bucket("lake").unwrap();
        bucket.lock().journal.append(&cut_off).unwrap();
        drop(store);
        let journal = root.path().join(ASIDE).join("lake.jsonl");
        let mut text = fs::read(&journal).unwrap();
        text.extend_from_slice(b"{\"key\":\"cut");
        fs::write(&journal, text).unwrap();
        let store = Store::open(root.path()).unwrap();
        let now = store.info("lake", "k").unwrap();
        assert_eq!((now.etag.as_str(), now.attributes.content_type.as_deref()), ("old tag", Some("text/old")));
    }
}
