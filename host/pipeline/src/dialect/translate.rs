//! A provider's stream as OpenAI's: raw bytes in, server-sent events out.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use witgate_routing::ErrorClass;
use witgate_wire::framing::{Decoder, Frame};
use witgate_wire::sse;

use super::{bridge, clean, stamp::Stamp};
use crate::ports::{
    PluginFault, Progress, ProviderFrame, StreamEnd, StreamParser, UpstreamBody, UpstreamError,
    UpstreamErrorKind,
};

/// The stream of OpenAI's frames. Dropping it cancels the upstream and frees the plugin's instance.
///
/// A piece that gives no chunk gives an empty piece: the upstream is alive, and whoever waits for it
/// should know.
pub(super) fn chunks(
    raw: UpstreamBody,
    decoder: Decoder,
    parser: Box<dyn StreamParser>,
    shape: Shape,
) -> UpstreamBody {
    let translation = Translation {
        raw,
        decoder,
        parser,
        shape,
        state: State::Reading,
    };
    Box::pin(futures_util::stream::unfold(
        translation,
        |mut this| async move {
            let item = this.next().await?;
            Some((item, this))
        },
    ))
}

/// What the plugin's chunks still need.
pub(super) struct Shape {
    pub(super) stamp: Stamp,
    /// They are a chat's, and the client wants a text completion's.
    pub(super) is_bridged: bool,
}

impl Shape {
    fn chunk(&self, json: &Bytes) -> Result<Bytes, String> {
        match self.is_bridged {
            true => self.stamp.chunk(&bridge::answer(json)),
            false => self.stamp.chunk(json),
        }
    }
}

struct Translation {
    raw: UpstreamBody,
    decoder: Decoder,
    parser: Box<dyn StreamParser>,
    shape: Shape,
    state: State,
}

enum State {
    /// Frames are read and translated.
    Reading,
    /// The provider said its last word; what follows is read past, to keep the connection.
    Draining,
    /// This is still to be told.
    Failing(UpstreamError),
    Over,
}

impl Translation {
    async fn next(&mut self) -> Option<Result<Bytes, UpstreamError>> {
        if let State::Failing(_) = self.state
            && let State::Failing(error) = std::mem::replace(&mut self.state, State::Over)
        {
            return Some(Err(error));
        }
        if matches!(self.state, State::Over) {
            return None;
        }
        match self.raw.next().await {
            Some(Ok(_)) if matches!(self.state, State::Draining) => Some(Ok(Bytes::new())),
            Some(Ok(piece)) => Some(self.read(piece).await),
            Some(Err(error)) => {
                self.state = State::Over;
                Some(Err(error))
            }
            None if matches!(self.state, State::Draining) => None,
            None => {
                self.state = State::Over;
                Some(self.end().await)
            }
        }
    }

    async fn read(&mut self, piece: Bytes) -> Result<Bytes, UpstreamError> {
        let frames = match self.decoder.push(piece) {
            Ok(frames) => frames,
            Err(error) => return self.fail(&error.to_string()),
        };
        self.feed(frames).await
    }

    /// The connection ended before the provider's own end.
    async fn end(&mut self) -> Result<Bytes, UpstreamError> {
        let last = match self.decoder.finish() {
            Ok(last) => last,
            Err(error) => return self.fail(&error.to_string()),
        };
        let mut out = BytesMut::new();
        if last.is_some() {
            let fed: Bytes = self.feed(last).await?;
            out.extend_from_slice(&fed);
        }
        if matches!(self.state, State::Over) {
            let finished = self.parser.finish().await;
            let taken: Bytes = self.take(finished)?;
            out.extend_from_slice(&taken);
        }
        if matches!(self.state, State::Draining) {
            self.state = State::Over;
        }
        Ok(out.freeze())
    }

    async fn feed(
        &mut self,
        frames: impl IntoIterator<Item = Frame>,
    ) -> Result<Bytes, UpstreamError> {
        let frames: Vec<ProviderFrame> = frames
            .into_iter()
            .map(|frame| ProviderFrame {
                event: frame.event,
                data: frame.data,
            })
            .collect();
        if frames.is_empty() {
            return Ok(Bytes::new());
        }
        let pushed = self.parser.push(frames).await;
        self.take(pushed)
    }

    fn take(&mut self, progress: Result<Progress, PluginFault>) -> Result<Bytes, UpstreamError> {
        let progress = match progress {
            Ok(progress) => progress,
            Err(fault) => return self.faulty(&fault.to_string()),
        };
        let mut out = BytesMut::new();
        for chunk in &progress.chunks {
            match self.shape.chunk(chunk) {
                Ok(chunk) => out.extend_from_slice(&sse::data_frame(&chunk)),
                Err(why) => return self.faulty(&why),
            }
        }
        match progress.end {
            None => {}
            Some(StreamEnd::Done) => {
                out.extend_from_slice(&sse::DONE);
                self.state = State::Draining;
            }
            Some(StreamEnd::Failed(failure)) => {
                let class = ErrorClass::from_name(&failure.class).unwrap_or(ErrorClass::Api);
                let error = UpstreamError {
                    kind: UpstreamErrorKind::Told(class),
                    message: clean(&failure.message),
                };
                // What came before the failure goes out before it.
                if out.is_empty() {
                    self.state = State::Over;
                    return Err(error);
                }
                self.state = State::Failing(error);
            }
        }
        Ok(out.freeze())
    }

    fn fail(&mut self, message: &str) -> Result<Bytes, UpstreamError> {
        self.state = State::Over;
        Err(UpstreamError {
            kind: UpstreamErrorKind::Broken,
            message: message.to_owned(),
        })
    }

    /// The plugin failed: the client learns that, the log learns why.
    fn faulty(&mut self, why: &str) -> Result<Bytes, UpstreamError> {
        tracing::warn!("in the middle of a stream: {why}");
        self.state = State::Over;
        Err(UpstreamError {
            kind: UpstreamErrorKind::Told(ErrorClass::InternalServer),
            message: "the provider plugin failed; the gateway's log says why".to_owned(),
        })
    }
}
