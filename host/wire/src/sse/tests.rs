use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// Decodes chunks; the concatenated raw bytes are checked on the way.
fn decode(chunks: &[&[u8]]) -> (Vec<Frame>, Option<Truncated>) {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        while let Some(frame) = decoder.next_frame().unwrap() {
            frames.push(frame);
        }
    }
    (frames, decoder.finish())
}

fn text(data: &Option<Bytes>) -> Option<String> {
    data.as_ref()
        .map(|d| String::from_utf8_lossy(d).into_owned())
}

type Event = (Option<String>, Option<String>);

fn events(frames: &[Frame]) -> Vec<Event> {
    frames
        .iter()
        .map(|f| (text(&f.event), text(&f.data)))
        .collect()
}

/// The specification read literally: normalise line ends, split at blank lines.
fn oracle(stream: &str) -> Vec<Event> {
    let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream);
    let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
    let mut events = Vec::new();
    let (mut event, mut data): (Option<String>, Option<String>) = (None, None);
    let mut lines = 0;
    // The text behind the last line end is an unfinished line.
    let Some((whole, _)) = stream.rsplit_once('\n') else {
        return events;
    };
    for line in whole.split('\n') {
        if line.is_empty() {
            if lines > 0 {
                events.push((event.take(), data.take()));
            }
            lines = 0;
            continue;
        }
        lines += 1;
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => event = Some(value.to_owned()),
            "data" => {
                data = Some(data.map_or(value.to_owned(), |d| format!("{d}\n{value}")));
            }
            _ => {}
        }
    }
    events
}

#[test]
fn an_openai_stream() {
    let (frames, rest) = decode(&[
        b"data: {\"a\":1}\n\ndata: {\"b\"",
        b":2}\n\n: ping\n\ndata: [DONE]\n\n",
    ]);
    let some = |s: &str| Some(s.to_owned());
    assert_eq!(
        events(&frames),
        [
            (None, some("{\"a\":1}")),
            (None, some("{\"b\":2}")),
            (None, None),
            (None, some("[DONE]"))
        ]
    );
    assert_eq!(frames[1].raw, "data: {\"b\":2}\n\n");
    assert!(frames[3].is_done() && !frames[2].is_done());
    assert_eq!(rest, None);
}

#[test]
fn a_frame_inside_one_chunk_is_not_copied() {
    let chunk = Bytes::from(b"data: one\n\ndata: two\n\n".to_vec());
    let mut decoder = Decoder::default();
    decoder.push(chunk.clone());
    let first = decoder.next_frame().unwrap().unwrap();
    assert_eq!(first.raw.as_ptr(), chunk.as_ptr());
    assert_eq!(first.data.unwrap().as_ptr(), chunk[6..].as_ptr());
}

#[test]
fn a_cr_at_the_end_of_a_chunk_does_not_delay_its_frame() {
    let (frames, rest) = decode(&[b"data: a\r\n\r", b"\ndata: b\r\n\r\n"]);
    assert_eq!(frames[0].raw, "data: a\r\n\r");
    assert_eq!(text(&frames[1].data).unwrap(), "b");
    assert_eq!(rest, None);
}

#[test]
fn an_unfinished_frame_is_reported() {
    let (frames, rest) = decode(&[b"data: a\n\ndata: {\"b\"", b":2}\n"]);
    assert_eq!(frames.len(), 1);
    assert_eq!(rest.unwrap().raw, "data: {\"b\":2}\n");
    assert_eq!(decode(&[b"data: a\n\n\n\r\n"]).1, None);
    assert_eq!(decode(&[]).1, None);
}

#[test]
fn an_endless_frame_is_refused() {
    let mut decoder = Decoder::new(100);
    decoder.push(Bytes::from("data: ok\n\n".repeat(50)));
    for _ in 0..50 {
        assert!(decoder.next_frame().unwrap().is_some());
    }
    decoder.push(Bytes::from(vec![b'x'; 60]));
    assert_eq!(decoder.next_frame(), Ok(None));
    decoder.push(Bytes::from(vec![b'x'; 60]));
    assert_eq!(decoder.next_frame(), Err(FrameTooLarge { max_bytes: 100 }));
}

#[test]
fn encoded_frames_decode_to_what_they_hold() {
    let frames = [
        data_frame(b"{\"a\":1}"),
        event_frame("x", b"two\r\nlines"),
        comment_frame("a\nb"),
        DONE,
    ];
    let (decoded, rest) = decode(&frames.each_ref().map(|f| &f[..]));
    let some = |s: &str| Some(s.to_owned());
    assert_eq!(
        events(&decoded),
        [
            (None, some("{\"a\":1}")),
            (some("x"), some("two\nlines")),
            (None, None),
            (None, some("[DONE]"))
        ]
    );
    assert_eq!(rest, None);
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(data|event|id|retry|other|)(:| |: |:  )?[a-z: é]{0,6}",
        2 => Just(String::new()),
    ]
}

fn stream() -> impl Strategy<Value = String> {
    let end = prop_oneof![Just("\n"), Just("\r"), Just("\r\n")];
    let lines = prop::collection::vec((line(), end), 0..20);
    let bom = prop_oneof![5 => Just(""), 1 => Just("\u{feff}data: x\n")];
    (bom, lines, "[a-z]{0,3}").prop_map(|(bom, lines, tail)| {
        let body: String = lines.into_iter().map(|(line, end)| line + end).collect();
        format!("{bom}{body}{tail}")
    })
}

proptest! {
    #[test]
    fn any_split_decodes_like_the_oracle(
        stream in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let bytes = stream.as_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|i| i.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        let (frames, rest) = decode(&chunks);
        prop_assert_eq!(events(&frames), oracle(&stream));
        let mut raw: Vec<u8> = frames.iter().flat_map(|f| f.raw.to_vec()).collect();
        let is_cut = rest.is_some();
        raw.extend(rest.into_iter().flat_map(|t| t.raw.to_vec()));
        prop_assert!(bytes.starts_with(&raw));
        // Only blank lines may be missing, and only at the end.
        prop_assert!(bytes[raw.len()..].iter().all(|c| matches!(c, b'\n' | b'\r')));
        prop_assert!(!is_cut || raw.len() == bytes.len());
    }
}
