//! Request hooks at work on a stream: chunks go in, what may leave in their place comes out.

use std::sync::Arc;

use bytes::Bytes;
use sync_wrapper::SyncWrapper;

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::guard::WireView;
use crate::hooks::{call_of, fault, having, one_line, refused};
use crate::ports::{HookPiece, HookPoints, HookStream, PluginFault};
use crate::snapshot::Snapshot;

/// The hooks of one stream, each fed by the one before.
pub struct HookChain {
    snapshot: Arc<Snapshot>,
    links: Vec<Link>,
}

struct Link {
    /// Index in the snapshot.
    index: usize,
    stream: SyncWrapper<Box<dyn HookStream>>,
    /// What came out is not what went in: it cannot be taken out of the stream any more.
    touched: bool,
    /// Failed open: chunks pass by.
    bypassed: bool,
}

/// What may leave.
pub struct Passed {
    /// Chunks, each on one line.
    pub chunks: Vec<Bytes>,
    /// The first of them is the chunk that went in, and the only one.
    pub is_same: bool,
    /// A hook has ended the stream.
    pub ended: bool,
}

/// Opens the stream with every hook that wants chunks; `None` when there is none.
pub async fn open(x: &Exchange) -> Result<Option<HookChain>, Failure> {
    let Some(request) = &x.request else {
        return Ok(None);
    };
    let mut links = Vec::new();
    for (index, entry) in x.snapshot.hooks.iter().enumerate() {
        if !entry.points.has(HookPoints::STREAMING) {
            continue;
        }
        match entry
            .plugin
            .open_stream(call_of(x), WireView::request(request))
            .await
        {
            Ok(Some(stream)) => links.push(Link {
                index,
                stream: SyncWrapper::new(stream),
                touched: false,
                bypassed: false,
            }),
            Ok(None) => {}
            Err(why) => fault(entry, &why)?,
        }
    }
    let snapshot = x.snapshot.clone();
    Ok((!links.is_empty()).then_some(HookChain { snapshot, links }))
}

/// Whether any hook wants the chunks of streams.
pub fn is_wanted(snapshot: &Snapshot) -> bool {
    having(snapshot, HookPoints::STREAMING).next().is_some()
}

impl HookChain {
    /// Puts a chunk through.
    pub async fn push(&mut self, chunk: Bytes) -> Result<Passed, Failure> {
        self.pass(vec![chunk], false).await
    }

    /// The upstream has said all; gives what hooks still have to say.
    pub async fn finish(&mut self) -> Result<Passed, Failure> {
        self.pass(Vec::new(), true).await
    }

    async fn pass(&mut self, mut chunks: Vec<Bytes>, mut last: bool) -> Result<Passed, Failure> {
        let snapshot = self.snapshot.clone();
        let (mut is_same, mut ended) = (!last, false);
        for link in &mut self.links {
            if link.bypassed {
                continue;
            }
            let entry = &snapshot.hooks[link.index];
            let mut out = Vec::with_capacity(chunks.len());
            let mut over = false;
            for chunk in chunks {
                if over || link.bypassed {
                    // Behind a stream's end nothing comes; past a hook that failed open everything does.
                    if !over {
                        out.push(chunk);
                    }
                    continue;
                }
                let text = String::from_utf8_lossy(&chunk);
                let piece = link.stream.get_mut().push(&text).await;
                match link.taken(piece, Some(&chunk), &mut out)? {
                    Step::On { same } => is_same &= same,
                    Step::Over => (over, is_same) = (true, false),
                    Step::Fault(why) => link.fail_open(fault(entry, &why), &entry.name)?,
                }
                if link.bypassed {
                    out.push(chunk);
                }
            }
            if last && !over && !link.bypassed {
                let piece = link.stream.get_mut().finish().await;
                match link.taken(piece, None, &mut out)? {
                    Step::On { .. } | Step::Over => {}
                    Step::Fault(why) => link.fail_open(fault(entry, &why), &entry.name)?,
                }
            }
            ended |= over;
            last |= over;
            chunks = out;
        }
        Ok(Passed {
            is_same: is_same && chunks.len() == 1,
            chunks,
            ended,
        })
    }
}

enum Step {
    On { same: bool },
    Over,
    Fault(PluginFault),
}

impl Link {
    /// Adds what a hook lets out.
    fn taken(
        &mut self,
        piece: Result<HookPiece, PluginFault>,
        chunk: Option<&Bytes>,
        out: &mut Vec<Bytes>,
    ) -> Result<Step, Failure> {
        let (new, step) = match piece {
            Ok(HookPiece::Keep) => {
                out.extend(chunk.cloned());
                return Ok(Step::On { same: true });
            }
            Ok(HookPiece::Replace(new)) => (new, Step::On { same: false }),
            Ok(HookPiece::End(new)) => (new, Step::Over),
            Ok(HookPiece::Fail(error)) => return Err(refused(error)),
            Err(why) => return Ok(Step::Fault(why)),
        };
        let lines: Result<Vec<Bytes>, _> = new.iter().map(|json| one_line(json)).collect();
        match lines {
            Ok(lines) => {
                self.touched = true;
                out.extend(lines);
                Ok(step)
            }
            Err(what) => Ok(Step::Fault(PluginFault::new(format!("it returned {what}")))),
        }
    }

    /// A hook that fails open is passed by, unless it has changed the stream before: then what it would have made of the
    /// rest cannot be told, and the call must end.
    fn fail_open(&mut self, policy: Result<(), Failure>, name: &str) -> Result<(), Failure> {
        policy?;
        if self.touched {
            let note =
                format!("request hook {name} failed in the middle of a stream it had edited");
            return Err(Failure::internal(note));
        }
        self.bypassed = true;
        Ok(())
    }
}
