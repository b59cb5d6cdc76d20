//! Rows on the disk of this process until the database has them: they survive the process, and a database that is away for
//! longer than the memory lasts.
//!
//! A folder per process, locked while it lives, with segments of rows. Rows that also wait in memory are in `live` segments, which
//! go when the last of their rows is through; those that memory had no room for are in `spill` segments, which are read when the
//! database keeps up. What a process that was killed left is read like a spill by the next one that comes: rows that are in the
//! database already are not written again, since they have an id. Rows that the database does not keep have none: how far they are
//! counted is noted there by their [position](Position).
//!
//! A segment that cannot be read is told of once and set aside: it stays where it is, for the next process.
//!
//! A row is in the file when [`Spool::keep`] returns: in the system's cache, so that it outlives the process but not the machine.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::metrics::StoreMetrics;
use crate::spend::{Packed, Position};

/// Bytes after which a segment is full.
const SEGMENT_BYTES: u64 = 4 << 20;

/// How long a segment is kept at most once all of its rows are through: a process that is killed later leaves them, and of rows that are
/// old the database may have removed those that they would be known by.
const THROUGH_MAX: Duration = Duration::from_secs(60);

/// The length and the checksum before each row.
const HEAD: usize = 8;

/// Longest row that is believed when it is read.
const ROW_MAX: usize = 256 << 20;

/// Folders that are tried: another process that starts in the same instant may take a new one for that of a process that is gone.
const FOLDERS_MAX: usize = 100;

/// Where rows are kept, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolOptions {
    /// The folder of all processes' folders. It is made when it is not there.
    pub folder: PathBuf,
    /// Most bytes on the disk.
    pub most_bytes: u64,
}

/// A segment that has been taken to be read.
pub(super) struct Due {
    pub path: PathBuf,
    bytes: u64,
}

pub(super) struct Spool {
    own: PathBuf,
    /// The name of this process's folder, and the mark of those who read what it leaves.
    name: Arc<str>,
    left: Arc<str>,
    most: u64,
    keeps: Keeps,
    metrics: StoreMetrics,
    state: Mutex<State>,
    /// Held for the life of the process.
    _lock: File,
}

/// Which rows a spool takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeps {
    /// Those that the database keeps, too.
    Kept,
    /// Also those that only count: the database notes how far they are counted.
    All,
}

/// Where a row is that also waits in memory.
pub(super) struct Place {
    /// The number of its segment.
    pub segment: u64,
    pub position: Position,
}

#[derive(Default)]
struct State {
    live: Option<Segment>,
    spill: Option<Segment>,
    /// Full live segments: their path, size, and how many of their rows are not through.
    full: HashMap<u64, (PathBuf, u64, usize)>,
    due: VecDeque<Due>,
    /// A segment is being read.
    is_reading: bool,
    bytes: u64,
    next: u64,
    /// Rows that were ever in a live segment.
    sequence: u64,
    /// Folders of processes that ended, to be removed when they are empty. Their locks keep others away.
    adopted: Vec<(PathBuf, File)>,
    /// Folders with a segment that could not be read: they stay, and so do their locks.
    aside: HashSet<PathBuf>,
}

struct Segment {
    number: u64,
    path: PathBuf,
    file: File,
    bytes: u64,
    rows: usize,
    begun: Instant,
}

impl Spool {
    /// Opens a folder of our own, and takes over those whose processes are gone.
    pub fn open(options: &SpoolOptions, keeps: Keeps, metrics: StoreMetrics) -> io::Result<Self> {
        fs::create_dir_all(&options.folder)?;
        let mut state = State::default();
        for entry in fs::read_dir(&options.folder)? {
            let folder = entry?.path();
            let adopted = locked(&folder).and_then(|lock| match lock {
                Some(lock) => adopt(&mut state, folder.clone(), lock),
                None => Ok(()),
            });
            match adopted {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    metrics.spool_unreadable.inc();
                    tracing::error!(%error, folder = %folder.display(), "spend rows of a process that ended are not read: its folder cannot be opened");
                }
                // Another process has taken it over meanwhile.
                _ => {}
            }
        }
        let (own, lock) = own_folder(&options.folder)?;
        metrics.spooled_bytes.set(state.bytes as i64);
        Ok(Self {
            name: name(&own).into(),
            left: left(&name(&own)),
            own,
            most: options.most_bytes,
            keeps,
            metrics,
            state: Mutex::new(state),
            _lock: lock,
        })
    }

    /// Whether it takes this row.
    pub fn takes(&self, row: &Packed) -> bool {
        row.keeps || self.keeps == Keeps::All
    }

    /// Keeps a row that also waits in memory; `None` when the disk does not take it.
    pub fn keep(&self, row: &Frame) -> Option<Place> {
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.live.as_ref().is_some_and(Segment::is_full)
            && let Some(full) = state.live.take()
        {
            match full.rows {
                0 => state.remove(&full.path, full.bytes),
                rows => {
                    _ = state
                        .full
                        .insert(full.number, (full.path, full.bytes, rows))
                }
            }
        }
        let segment = self.append(state, row, Kind::Live)?;
        state.sequence += 1;
        let position = Position {
            source: self.name.clone(),
            before: Some(self.left.clone()),
            tells: None,
            at: state.sequence,
        };
        Some(Place { segment, position })
    }

    /// Keeps a row that has no place in memory. False when the disk does not take it.
    pub fn spill(&self, row: &Frame) -> bool {
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.spill.as_ref().is_some_and(Segment::is_full) {
            state.seal();
        }
        self.append(state, row, Kind::Spill).is_some()
    }

    fn append(&self, state: &mut State, Frame(frame): &Frame, kind: Kind) -> Option<u64> {
        let size = frame.len() as u64;
        if state.bytes + size > self.most {
            let why = format!("its bound of {} bytes is reached", self.most);
            self.failed(&io::Error::other(why));
            return None;
        }
        let opened = match kind {
            Kind::Live => &mut state.live,
            Kind::Spill => &mut state.spill,
        };
        let written = (|| {
            if opened.is_none() {
                state.next += 1;
                let first = match kind {
                    Kind::Live => Some(state.sequence + 1),
                    Kind::Spill => None,
                };
                *opened = Some(Segment::create(&self.own, state.next, first)?);
            }
            let segment = opened.as_mut().ok_or(io::ErrorKind::NotFound)?;
            segment.file.write_all(frame)?;
            segment.bytes += size;
            segment.rows += 1;
            Ok::<u64, io::Error>(segment.number)
        })();
        match written {
            Ok(number) => {
                state.bytes += size;
                self.metrics.spooled_bytes.set(state.bytes as i64);
                Some(number)
            }
            Err(error) => {
                // A row that is half there ends what can be read of the segment: no other one may follow.
                if let Some(broken) = opened.take() {
                    match kind {
                        Kind::Live => {
                            let of = (broken.path, broken.bytes, broken.rows);
                            state.full.insert(broken.number, of);
                        }
                        Kind::Spill => state.due.push_back(Due {
                            path: broken.path,
                            bytes: broken.bytes,
                        }),
                    }
                }
                self.failed(&error);
                None
            }
        }
    }

    /// The disk did not take a row; told of the first.
    fn failed(&self, error: &io::Error) {
        if self.metrics.spool_failures.inc() == 0 {
            tracing::error!(%error, folder = %self.own.display(), "spend rows are not kept on disk: they are lost when the process is killed");
        }
    }

    /// Rows of these segments are through.
    pub fn through(&self, segments: impl Iterator<Item = u64>) {
        let mut state = self.state.lock();
        let state = &mut *state;
        for number in segments {
            if let Some(live) = state.live.as_mut().filter(|live| live.number == number) {
                live.rows = live.rows.saturating_sub(1);
                continue;
            }
            let Some((_, _, rows)) = state.full.get_mut(&number) else {
                continue;
            };
            *rows = rows.saturating_sub(1);
            if *rows == 0
                && let Some((path, bytes, _)) = state.full.remove(&number)
            {
                state.remove(&path, bytes);
            }
        }
        // Not at once: a new file for every commit would cost more than reading some rows twice.
        let is_through = |live: &mut Segment| live.rows == 0 && live.bytes > SEGMENT_BYTES / 4;
        if let Some(live) = state.live.take_if(is_through) {
            state.remove(&live.path, live.bytes);
        }
        self.metrics.spooled_bytes.set(state.bytes as i64);
    }

    /// Removes the live segment when its rows are through and it is old; when the next look is worth something, if at all.
    pub fn tidy(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state.lock();
        let live = state.live.as_ref().filter(|live| live.rows == 0)?;
        let due = live.begun + THROUGH_MAX;
        if now < due {
            return Some(due);
        }
        let live = state.live.take()?;
        state.bytes = state.bytes.saturating_sub(live.bytes);
        self.metrics.spooled_bytes.set(state.bytes as i64);
        drop(state);
        // Calls that are being recorded do not wait for the disk.
        unlink(&live.path);
        None
    }

    /// Whether every row that is only here has been read and written.
    pub fn is_read(&self) -> bool {
        let state = self.state.lock();
        state.due.is_empty() && state.spill.is_none() && !state.is_reading
    }

    /// The oldest segment that is to be read; [`Self::done`] with it follows.
    pub fn take(&self) -> Option<Due> {
        let mut state = self.state.lock();
        if state.due.is_empty() {
            state.seal();
        }
        let due = state.due.pop_front()?;
        state.is_reading = true;
        Some(due)
    }

    /// What became of a segment.
    pub fn done(&self, due: Due, outcome: Outcome) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.is_reading = false;
        match outcome {
            Outcome::NotYet => state.due.push_front(due),
            Outcome::Written => state.remove(&due.path, due.bytes),
            Outcome::Unreadable => {
                self.metrics.spool_unreadable.inc();
                state.aside.extend(due.path.parent().map(Path::to_owned));
            }
        }
        if state.due.is_empty() {
            let aside = &state.aside;
            for (folder, _lock) in state
                .adopted
                .extract_if(.., |(folder, _)| !aside.contains(folder))
            {
                remove_folder(&folder);
            }
        }
        self.metrics.spooled_bytes.set(state.bytes as i64);
    }

    /// Every row is through: nothing stays.
    pub fn close(&self) {
        let is_aside = self.state.lock().aside.contains(&self.own);
        if self.is_read() && !is_aside {
            remove_folder(&self.own);
            self.metrics.spooled_bytes.set(0);
        }
    }
}

/// What became of a segment that was to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its rows are in the database.
    Written,
    /// They are not: it is read again.
    NotYet,
    /// Not all of it can be read: it stays as it is, and is not read again by this process.
    Unreadable,
}

#[derive(Clone, Copy)]
enum Kind {
    Live,
    Spill,
}

impl State {
    fn seal(&mut self) {
        if let Some(full) = self.spill.take() {
            self.due.push_back(Due {
                path: full.path,
                bytes: full.bytes,
            });
        }
    }

    fn remove(&mut self, path: &Path, bytes: u64) {
        unlink(path);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Segment {
    /// A new one. The name of a live one says where its rows stand among those of the process.
    fn create(folder: &Path, number: u64, first: Option<u64>) -> io::Result<Self> {
        let first = first.map_or_else(String::new, |first| format!("-{first}"));
        let path = folder.join(format!("{number:012}{first}.rows"));
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)?;
        Ok(Self {
            number,
            path,
            file,
            bytes: 0,
            rows: 0,
            begun: Instant::now(),
        })
    }

    fn is_full(&self) -> bool {
        self.bytes >= SEGMENT_BYTES
    }
}

/// What can be read of a segment.
#[derive(Debug, PartialEq)]
pub(super) struct Contents {
    pub rows: Vec<Packed>,
    /// There is more, which is not as it was written.
    pub is_damaged: bool,
}

/// The rows of a segment, as far as they are whole: the last one of a process that was killed may not be.
pub(super) fn read(path: &Path) -> io::Result<Contents> {
    let bytes = fs::read(path)?;
    let (from, first) = places(path);
    let mut rest = bytes.as_slice();
    let mut rows = Vec::new();
    let is_damaged = loop {
        match unframe(rest) {
            Framed::Whole(mut row, next) => {
                row.position = Some(Position {
                    at: first + rows.len() as u64,
                    ..from.clone()
                });
                rows.push(*row);
                rest = next;
            }
            Framed::Cut => break false,
            Framed::Damaged => break true,
        }
    };
    if !rest.is_empty() && !is_damaged {
        tracing::warn!(path = %path.display(), bytes = rest.len(), "a spend row that was being written when the process ended is not read");
    }
    Ok(Contents { rows, is_damaged })
}

/// Where rows of a segment are counted, and the first one's number.
fn places(path: &Path) -> (Position, u64) {
    let process = path.parent().map(name).unwrap_or_default();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let first = stem
        .split_once('-')
        .and_then(|(_, first)| first.parse().ok());
    // Rows that never waited in memory come by this way alone.
    let live = first.map(|_: u64| (Arc::from(&*process), left(&process)));
    let (before, tells) = live.unzip();
    let from = Position {
        source: format!("{process}/{stem}").into(),
        before,
        tells,
        at: 0,
    };
    (from, first.unwrap_or(1))
}

/// The mark of what was read of a process's live segments after its end.
fn left(process: &str) -> Arc<str> {
    format!("{process}/left").into()
}

fn name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A row as the file has it.
pub(super) struct Frame(Vec<u8>);

impl Frame {
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn of(row: &Packed) -> Self {
        let mut frame = vec![0; HEAD];
        row.encode(&mut frame);
        let (head, payload) = frame.split_at_mut(HEAD);
        let (length, sum) = head.split_at_mut(4);
        let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        length.copy_from_slice(&bytes.to_le_bytes());
        sum.copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        Self(frame)
    }
}

/// What a file goes on with.
pub(super) enum Framed<'a> {
    Whole(Box<Packed>, &'a [u8]),
    /// The beginning of a row, or nothing.
    Cut,
    /// Something else.
    Damaged,
}

pub(super) fn unframe(bytes: &[u8]) -> Framed<'_> {
    let Some(((length, sum), rest)) = head(bytes) else {
        return Framed::Cut;
    };
    if length > ROW_MAX {
        return Framed::Damaged;
    }
    let Some((payload, rest)) = rest.split_at_checked(length) else {
        return Framed::Cut;
    };
    let is_whole = crc32fast::hash(payload) == sum;
    match Packed::decode(payload).filter(|_| is_whole) {
        Some(row) => Framed::Whole(Box::new(row), rest),
        None => Framed::Damaged,
    }
}

/// Length and checksum of a row.
fn head(bytes: &[u8]) -> Option<((usize, u32), &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let head = (
        u32::from_le_bytes(*length) as usize,
        u32::from_le_bytes(*sum),
    );
    Some((head, rest))
}

const LOCK: &str = "lock";

/// The lock of a folder whose process is gone.
fn locked(folder: &Path) -> io::Result<Option<File>> {
    match File::open(folder.join(LOCK)) {
        Ok(lock) => Ok(lock.try_lock().is_ok().then_some(lock)),
        // One that is being made, or is no folder of ours.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A new folder with a lock that is ours. Whoever looks for folders of processes that are gone may have had it first.
fn own_folder(root: &Path) -> io::Result<(PathBuf, File)> {
    for _ in 0..FOLDERS_MAX {
        let own = root.join(uuid::Uuid::new_v4().to_string());
        create_private(&own)?;
        let path = own.join(LOCK);
        let lock = match File::create(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        // Locked, and still there: it is not locked by another one that has taken it over, nor was it taken away before.
        if lock.try_lock().is_ok() && is_the_same(&path, &lock) {
            return Ok((own, lock));
        }
    }
    Err(io::Error::other("other processes take every new folder"))
}

fn is_the_same(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (there, ours) = (fs::metadata(path).map(id), file.metadata().map(id));
    there
        .ok()
        .is_some_and(|there| ours.is_ok_and(|ours| there == ours))
}

fn adopt(state: &mut State, folder: PathBuf, lock: File) -> io::Result<()> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|end| end == "rows") {
            segments.push((entry.path(), entry.metadata()?.len()));
        }
    }
    segments.sort();
    if segments.is_empty() {
        remove_folder(&folder);
        return Ok(());
    }
    for (path, bytes) in segments {
        state.bytes += bytes;
        state.due.push_back(Due { path, bytes });
    }
    state.adopted.push((folder, lock));
    Ok(())
}

/// Rows tell who called what: for this user's eyes only.
fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(folder)
}

fn unlink(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "a segment of spend rows stays; its rows are not counted twice");
    }
}

fn remove_folder(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(%error, folder = %folder.display(), "a folder of spend rows stays");
    }
}

#[cfg(test)]
mod tests;
