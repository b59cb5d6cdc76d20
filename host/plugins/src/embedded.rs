//! The built-in components inside this binary, put there when `WITGATE_EMBED_PLUGINS` named their folder
//! at compile time: one compressed bundle, which is a third of what they would be one by one.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// All components, and where in the unpacked whole each is.
struct Bundle {
    packed: &'static [u8],
    /// Bytes of the whole.
    length: usize,
    index: &'static [(&'static str, Range<usize>)],
}

/// The unpacked whole, while somebody reads one component after another.
#[derive(Default)]
struct Shelf {
    readers: usize,
    whole: Option<Arc<Vec<u8>>>,
}

static SHELF: Mutex<Shelf> = Mutex::new(Shelf {
    readers: 0,
    whole: None,
});

/// While it lives, the bundle is unpacked once at most; then its memory goes.
pub(crate) struct Reading<'a>(&'a Mutex<Shelf>);

/// Begins to read one component after another.
pub(crate) fn reading() -> Reading<'static> {
    Reading::on(&SHELF)
}

impl<'a> Reading<'a> {
    fn on(shelf: &'a Mutex<Shelf>) -> Self {
        shelf.lock().readers += 1;
        Self(shelf)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut shelf = self.0.lock();
        shelf.readers -= 1;
        if shelf.readers == 0 {
            shelf.whole = None;
        }
    }
}

impl Shelf {
    /// The whole, which `unpack` makes when it is not there; kept when there are readers.
    fn whole(&mut self, unpack: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<Arc<Vec<u8>>> {
        let whole = match &self.whole {
            Some(whole) => whole.clone(),
            None => Arc::new(unpack()?),
        };
        if self.readers > 0 {
            self.whole = Some(whole.clone());
        }
        Ok(whole)
    }
}

/// Names of the embedded components.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    EMBEDDED.index.iter().map(|(name, _)| *name)
}

/// Unpacks one.
pub(crate) fn read(name: &str) -> io::Result<Vec<u8>> {
    let place = EMBEDDED.place(name)?;
    let whole = SHELF.lock().whole(|| EMBEDDED.unpack())?;
    cut(&whole, place)
}

impl Bundle {
    fn place(&self, name: &str) -> io::Result<Range<usize>> {
        let found = self.index.iter().find(|(own, _)| *own == name);
        let (_, place) = found.ok_or(io::ErrorKind::NotFound)?;
        Ok(place.clone())
    }

    fn unpack(&self) -> io::Result<Vec<u8>> {
        zstd::bulk::decompress(self.packed, self.length)
    }
}

fn cut(whole: &[u8], place: Range<usize>) -> io::Result<Vec<u8>> {
    let part = whole.get(place).ok_or(io::ErrorKind::InvalidData)?;
    Ok(part.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_component_comes_out_of_the_bundle_by_its_name() {
        let whole = b"onetwothree";
        let packed = zstd::encode_all(&whole[..], 1).expect("packed");
        let bundle = Bundle {
            packed: Box::leak(packed.into_boxed_slice()),
            length: whole.len(),
            index: &[("one", 0..3), ("two", 3..6), ("three", 6..11)],
        };
        for (name, _) in bundle.index {
            let place = bundle.place(name).expect("a place");
            let part = cut(&bundle.unpack().expect("unpacked"), place).expect("a part");
            assert_eq!(part, name.as_bytes());
        }
        assert!(bundle.place("four").is_err());
        assert!(cut(whole, 9..12).is_err(), "beyond its end");
    }

    #[test]
    fn what_is_unpacked_goes_with_its_last_reader() {
        let shelf = Mutex::new(Shelf::default());
        let unpacked = std::cell::Cell::new(0);
        let read = || {
            let unpack = || {
                unpacked.set(unpacked.get() + 1);
                Ok(Vec::new())
            };
            shelf.lock().whole(unpack).expect("unpacked");
            unpacked.get()
        };
        assert_eq!((read(), read()), (1, 2), "nobody said that more is read");
        let (one, other) = (Reading::on(&shelf), Reading::on(&shelf));
        assert_eq!((read(), read()), (3, 3));
        drop(one);
        assert_eq!(read(), 3, "somebody still reads");
        drop(other);
        assert_eq!(read(), 4);
    }
}
