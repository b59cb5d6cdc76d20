//! Rows on the disk of this process until the database has them: they survive the process, and a database that is away for
//! longer than the memory lasts.
//!
//! A folder per process, locked while it lives, with segments of rows. Rows that also wait in memory are in `live` segments, which
//! go when the last of their rows is through; those that memory had no room for are in `spill` segments, which are read when the
//! database keeps up. What a process that was killed left is read like a spill by the next one that comes: rows that are in the
//! database already are not written again, since they have an id.
//!
//! A row is in the file when [`Spool::keep`] returns: in the system's cache, so that it outlives the process but not the machine.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::metrics::StoreMetrics;
use crate::spend::Packed;

/// Bytes after which a segment is full.
const SEGMENT_BYTES: u64 = 4 << 20;

/// The length and the checksum before each row.
const HEAD: usize = 8;

/// Longest row that is believed when it is read.
const ROW_MAX: usize = 256 << 20;

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
    most: u64,
    metrics: StoreMetrics,
    state: Mutex<State>,
    /// Held for the life of the process.
    _lock: File,
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
    /// Folders of processes that ended, to be removed when they are empty. Their locks keep others away.
    adopted: Vec<(PathBuf, File)>,
}

struct Segment {
    number: u64,
    path: PathBuf,
    file: File,
    bytes: u64,
    rows: usize,
}

impl Spool {
    /// Opens a folder of our own, and takes over those whose processes are gone.
    pub fn open(options: &SpoolOptions, metrics: StoreMetrics) -> io::Result<Self> {
        fs::create_dir_all(&options.folder)?;
        let mut state = State::default();
        for entry in fs::read_dir(&options.folder)? {
            let folder = entry?.path();
            if let Some(lock) = locked(&folder)? {
                adopt(&mut state, folder, lock)?;
            }
        }
        let own = options.folder.join(uuid::Uuid::new_v4().to_string());
        create_private(&own)?;
        let lock = File::create(own.join(LOCK))?;
        lock.try_lock()?;
        metrics.spooled_bytes.set(state.bytes as i64);
        Ok(Self {
            own,
            most: options.most_bytes,
            metrics,
            state: Mutex::new(state),
            _lock: lock,
        })
    }

    /// Keeps a row that also waits in memory: the segment it is in, `None` when the disk does not take it.
    pub fn keep(&self, row: &Frame) -> Option<u64> {
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.live.as_ref().is_some_and(Segment::is_full)
            && let Some(full) = state.live.take()
            && full.rows > 0
        {
            let of = (full.path, full.bytes, full.rows);
            state.full.insert(full.number, of);
        }
        self.append(state, row, Kind::Live)
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
            return None;
        }
        let opened = match kind {
            Kind::Live => &mut state.live,
            Kind::Spill => &mut state.spill,
        };
        let written = (|| {
            if opened.is_none() {
                state.next += 1;
                *opened = Some(Segment::create(&self.own, state.next)?);
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
                if self.metrics.spool_failures.inc() == 0 {
                    tracing::error!(%error, folder = %self.own.display(), "spend rows are not kept on disk: they are lost when the process is killed");
                }
                None
            }
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
                remove(&path);
                state.bytes = state.bytes.saturating_sub(bytes);
            }
        }
        // Not at once: a truncation for every commit would cost more than reading some rows twice.
        if let Some(live) = state.live.as_mut()
            && live.rows == 0
            && live.bytes > SEGMENT_BYTES / 4
            && live.file.set_len(0).is_ok()
        {
            state.bytes = state.bytes.saturating_sub(live.bytes);
            live.bytes = 0;
        }
        self.metrics.spooled_bytes.set(state.bytes as i64);
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

    /// The rows of a segment are in the database, or not: then it is read again.
    pub fn done(&self, due: Due, written: bool) {
        let mut state = self.state.lock();
        state.is_reading = false;
        match written {
            false => state.due.push_front(due),
            true => {
                remove(&due.path);
                state.bytes = state.bytes.saturating_sub(due.bytes);
            }
        }
        if state.due.is_empty() {
            for (folder, _lock) in std::mem::take(&mut state.adopted) {
                remove_folder(&folder);
            }
        }
        self.metrics.spooled_bytes.set(state.bytes as i64);
    }

    /// Every row is through: nothing stays.
    pub fn close(&self) {
        if self.is_read() {
            remove_folder(&self.own);
            self.metrics.spooled_bytes.set(0);
        }
    }
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
}

impl Segment {
    fn create(folder: &Path, number: u64) -> io::Result<Self> {
        let path = folder.join(format!("{number:012}.rows"));
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
        })
    }

    fn is_full(&self) -> bool {
        self.bytes >= SEGMENT_BYTES
    }
}

/// The rows of a segment, as far as they are whole: the last one of a process that was killed may not be.
pub(super) fn read(path: &Path) -> io::Result<Vec<Packed>> {
    let bytes = fs::read(path)?;
    let mut rest = bytes.as_slice();
    let mut rows = Vec::new();
    while let Some((row, next)) = unframe(rest) {
        rows.push(row);
        rest = next;
    }
    if !rest.is_empty() {
        tracing::warn!(path = %path.display(), bytes = rest.len(), "a spend row that was being written when the process ended is not read");
    }
    Ok(rows)
}

/// A row as the file has it.
pub(super) struct Frame(Vec<u8>);

impl Frame {
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
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

fn unframe(bytes: &[u8]) -> Option<(Packed, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > ROW_MAX {
        return None;
    }
    let (payload, rest) = rest.split_at_checked(length)?;
    let is_whole = crc32fast::hash(payload) == u32::from_le_bytes(*sum);
    let row = Packed::decode(payload).filter(|_| is_whole)?;
    Some((row, rest))
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

fn remove(path: &Path) {
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
mod tests {
    use super::*;
    use crate::spend::SpendRow;

    #[test]
    fn rows_are_read_as_they_were_written_up_to_one_that_is_torn() {
        let row = |id: &'static str| {
            let mut row = Packed::of(&SpendRow {
                request_id: id.into(),
                spend: "0.000000000000000123".parse().unwrap(),
                metadata: r#"{"é": "\u0000"}"#.into(),
                team_id: Some("".into()),
                prompt_tokens: -1,
                cache_read_tokens: 7,
                ..SpendRow::default()
            });
            row.counts = id == "a";
            row
        };
        let (a, b) = (row("a"), row("b"));
        let [mut bytes, last] = [&a, &b].map(|row| Frame::of(row).0);
        bytes.extend(&last);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.rows");
        for (cut, whole) in [(0, 2), (1, 1), (last.len(), 1)] {
            fs::write(&path, &bytes[..bytes.len() - cut]).unwrap();
            let rows = read(&path).unwrap();
            let expected = [&a, &b].into_iter().take(whole);
            assert!(rows.iter().eq(expected), "{cut}");
        }
        // A bit of the first row is wrong.
        bytes[HEAD + 3] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap(), []);
    }
}
