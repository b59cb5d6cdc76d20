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
        let mut read = read(&path).unwrap();
        for (at, row) in read.rows.iter_mut().enumerate() {
            let position = row.position.take().unwrap();
            assert_eq!(position.at, at as u64 + 1);
        }
        let expected = [&a, &b].into_iter().take(whole);
        assert!(read.rows.iter().eq(expected) && !read.is_damaged, "{cut}");
    }
    // A bit of the first row is wrong, or the length of the second.
    for (at, whole) in [(HEAD + 3, 0), (bytes.len() - last.len() + 3, 1)] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        let read = read(&path).unwrap();
        assert_eq!((read.rows.len(), read.is_damaged), (whole, true), "{at}");
    }
}

#[test]
fn rows_of_a_process_are_numbered_across_its_segments() {
    let cases = [
        ("000000000007-42", Some("abc"), Some("abc/left"), 42),
        ("000000000008", None, None, 1),
    ];
    for (stem, before, tells, first) in cases {
        let path = format!("/x/spend/abc/{stem}.rows");
        let (from, number) = places(Path::new(&path));
        assert_eq!(*from.source, *format!("abc/{stem}"));
        assert_eq!(
            (from.before.as_deref(), from.tells.as_deref()),
            (before, tells)
        );
        assert_eq!(number, first);
    }
}

/// All of them look for folders of others while they make their own.
#[test]
fn processes_that_start_at_once_each_have_a_folder() {
    const PROCESSES: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let options = SpoolOptions {
        folder: folder.path().to_owned(),
        most_bytes: 1 << 20,
    };
    let open = || {
        let metrics = StoreMetrics::register(&mut prometheus_client::registry::Registry::default());
        Spool::open(&options, Keeps::All, metrics)
    };
    for _ in 0..200 {
        let start = std::sync::Barrier::new(PROCESSES);
        std::thread::scope(|scope| {
            let process = || {
                start.wait();
                open()
            };
            let all: Vec<_> = (0..PROCESSES).map(|_| scope.spawn(process)).collect();
            let all: Vec<Spool> = all
                .into_iter()
                .map(|one| one.join().unwrap().unwrap())
                .collect();
            let frame = Frame::of(&Packed::of(&SpendRow::default()));
            for one in &all {
                assert!(one.keep(&frame).is_some());
                one.through([1].into_iter());
                one.close();
            }
        });
    }
}

#[test]
fn a_full_segment_whose_rows_are_through_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let options = SpoolOptions {
        folder: folder.path().to_owned(),
        most_bytes: 1 << 30,
    };
    let metrics = StoreMetrics::register(&mut prometheus_client::registry::Registry::default());
    let spool = Spool::open(&options, Keeps::All, metrics.clone()).unwrap();
    let large = SpendRow {
        metadata: "x".repeat(SEGMENT_BYTES as usize).into(),
        ..SpendRow::default()
    };
    let (large, small) = (
        Frame::of(&Packed::of(&large)),
        Frame::of(&Packed::of(&SpendRow::default())),
    );
    // The last row of the segment is through before the segment is found to be full, and after.
    let place = spool.keep(&large).unwrap();
    assert_eq!(place.position.at, 1);
    spool.through([place.segment].into_iter());
    let next = spool.keep(&small).unwrap();
    assert_ne!(next.segment, place.segment);
    assert_eq!(next.position.at, 2);
    let files = || {
        let files = fs::read_dir(&spool.own).unwrap();
        files
            .filter(|file| file.as_ref().unwrap().path().extension().is_some())
            .count()
    };
    assert_eq!(files(), 1);
    let place = spool.keep(&large).unwrap();
    let last = spool.keep(&small).unwrap();
    assert_ne!(last.segment, place.segment);
    spool.through([next.segment, place.segment].into_iter());
    assert_eq!(files(), 1);
    assert_eq!(metrics.spooled_bytes.get(), small.len() as i64);
}

/// Rows that are through take those with them that are in the same segment only when these are through, too.
#[test]
fn a_segment_stays_until_the_last_of_its_rows_is_through() {
    let folder = tempfile::tempdir().unwrap();
    let options = SpoolOptions {
        folder: folder.path().to_owned(),
        most_bytes: 1 << 30,
    };
    let metrics = StoreMetrics::register(&mut prometheus_client::registry::Registry::default());
    let spool = Spool::open(&options, Keeps::All, metrics).unwrap();
    // Two rows to a segment, either of them more than is let lie when nothing of it is needed.
    let row = SpendRow {
        metadata: "x".repeat(SEGMENT_BYTES as usize / 2 + 1).into(),
        ..SpendRow::default()
    };
    let row = Frame::of(&Packed::of(&row));
    let rows = || {
        let files = fs::read_dir(&spool.own).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let segments = files.filter(|path| path.extension().is_some());
        segments
            .map(|path| read(&path).unwrap().rows.len())
            .sum::<usize>()
    };
    let places: Vec<u64> = (0..4).map(|_| spool.keep(&row).unwrap().segment).collect();
    assert_eq!(places, [places[0], places[0], places[2], places[2]]);
    for (through, left) in [
        (places[2], 4),
        (places[0], 4),
        (places[0], 2),
        (places[2], 0),
    ] {
        spool.through([through].into_iter());
        assert_eq!(rows(), left);
    }
    spool.close();
    assert!(!spool.own.exists());
}

/// A process that takes few calls never fills a segment: of one that is killed after days, all would be read and counted again.
#[test]
fn a_segment_that_is_through_goes_when_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let options = SpoolOptions {
        folder: folder.path().to_owned(),
        most_bytes: 1 << 30,
    };
    let metrics = StoreMetrics::register(&mut prometheus_client::registry::Registry::default());
    let spool = Spool::open(&options, Keeps::All, metrics.clone()).unwrap();
    let row = Frame::of(&Packed::of(&SpendRow::default()));
    let files = || {
        let files = fs::read_dir(&spool.own).unwrap();
        files
            .filter(|file| file.as_ref().unwrap().path().extension().is_some())
            .count()
    };
    let begun = Instant::now();
    let later = |s: u64| begun + Duration::from_secs(s);
    let first = spool.keep(&row).unwrap();
    assert_eq!(spool.tidy(later(3600)), None, "its row waits");
    spool.through([first.segment].into_iter());
    let due = spool.tidy(later(59)).unwrap();
    assert!(due >= later(60) && files() == 1);
    assert_eq!(spool.tidy(due), None);
    assert_eq!((files(), metrics.spooled_bytes.get()), (0, 0));
    let second = spool.keep(&row).unwrap();
    assert_eq!((second.position.at, files()), (2, 1));
}
