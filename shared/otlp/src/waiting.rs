//! Chunks of spans, and the memory that they take.

use std::collections::VecDeque;
use std::time::Duration;

use gin_shared::protobuf::Writer;
use tokio::time::Instant;

/// Field of the spans in `ScopeSpans`.
pub(crate) const SPAN: u32 = 2;

/// Most spans of a batch.
const SPANS_MAX: u64 = 512;

/// Most bytes of a batch, but for a longer span: that is a batch of its own.
const CHUNK_MAX: usize = 512 * 1024;

/// Bytes of a new buffer.
const BUFFER_MIN: usize = 4 * 1024;

/// Most buffers that are kept for later spans.
const SPARE_MAX: usize = 2;

/// Spans that are sent together.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The spans as the field [`SPAN`].
    pub(crate) bytes: Vec<u8>,
    /// Number of the spans.
    pub(crate) spans: u64,
    /// Arrival of the first span.
    pub(crate) first: Instant,
}

/// Result of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The span waits.
    Added,
    /// The span waits, and the exporter must look: a chunk has begun, or is full.
    Due,
    /// The span had no room.
    Dropped,
}

/// The exporter's next step.
#[derive(Debug)]
pub(crate) enum Next {
    /// Send this.
    Chunk(Chunk),
    /// Look again at this time.
    At(Instant),
    /// Wait for a span.
    Nothing,
    /// Nothing waits, and nothing more comes.
    End,
}

/// Result of the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) lost: u64,
    /// True once.
    pub(crate) is_first: bool,
}

/// Spans that wait.
#[derive(Debug)]
pub(crate) struct Waiting {
    chunks: VecDeque<Chunk>,
    spare: Vec<Vec<u8>>,
    under_way: Option<UnderWay>,
    /// Spans and their bytes, those under way included.
    spans: u64,
    bytes: usize,
    /// Bytes of all buffers.
    held: usize,
    memory: usize,
    chunk_max: usize,
    interval: Duration,
    dropped: u64,
    stage: Stage,
}

/// A chunk that was taken, and is not finished.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    spans: u64,
    bytes: usize,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Spans are taken.
    Open,
    /// Only the spans that wait are sent.
    Closing,
    /// Nothing is sent any more.
    Settled { lost: u64 },
}

impl Waiting {
    pub(crate) fn new(interval: Duration, memory: usize) -> Self {
        // With little memory, spans can still come while a chunk is being sent.
        let chunk_max = CHUNK_MAX.min(memory / 4);
        let (chunks, spare, stage) = (VecDeque::new(), Vec::new(), Stage::Open);
        let (under_way, spans, bytes, held, dropped) = (None, 0, 0, 0, 0);
        Self { chunks, spare, under_way, spans, bytes, held, memory, chunk_max, interval, dropped, stage }
    }

    pub(crate) fn push(&mut self, span: &[u8]) -> Pushed {
        let pushed = self.try_push(span);
        self.dropped += u64::from(pushed == Pushed::Dropped);
        pushed
    }

    fn try_push(&mut self, span: &[u8]) -> Pushed {
        let Stage::Open = self.stage else { return Pushed::Dropped };
        // The field's number has one byte, as the length of a short span has.
        let length = 1 + varint_length(span.len()) + span.len();
        let goes_on = |last: &Chunk| last.spans < SPANS_MAX && last.bytes.len() + length <= self.chunk_max;
        let is_new = !self.chunks.back().is_some_and(goes_on);
        let mut chunk = if is_new { self.new_chunk() } else { self.chunks.pop_back().expect("it goes on") };
        let has_room = self.make_room(&mut chunk.bytes, length);
        if has_room {
            let mut writer = Writer::from(std::mem::take(&mut chunk.bytes));
            writer.length(SPAN, span.len());
            writer.raw(span);
            chunk.bytes = writer.into_vec();
            chunk.spans += 1;
            self.spans += 1;
            self.bytes += length;
        }
        let is_full = chunk.spans == SPANS_MAX;
        if chunk.spans > 0 {
            self.chunks.push_back(chunk);
        } else {
            self.keep(chunk.bytes);
        }
        match has_room {
            true if is_new || is_full => Pushed::Due,
            true => Pushed::Added,
            false => Pushed::Dropped,
        }
    }

    /// Begins a chunk. In a backlog, the one before it gives back what it does not need: it grows no more.
    fn new_chunk(&mut self) -> Chunk {
        if self.chunks.len() > 1
            && let Some(last) = self.chunks.back_mut()
            && last.spans == SPANS_MAX
        {
            self.held -= last.bytes.capacity();
            last.bytes.shrink_to_fit();
            self.held += last.bytes.capacity();
        }
        Chunk { bytes: self.spare.pop().unwrap_or_default(), spans: 0, first: Instant::now() }
    }

    /// Makes room for these many bytes more, if the bound allows it.
    fn make_room(&mut self, buffer: &mut Vec<u8>, length: usize) -> bool {
        let (capacity, needed) = (buffer.capacity(), buffer.len() + length);
        if needed <= capacity {
            return true;
        }
        let wanted = (capacity * 2).clamp(BUFFER_MIN, self.chunk_max.max(BUFFER_MIN)).max(needed);
        while self.held + wanted - capacity > self.memory
            && let Some(spare) = self.spare.pop()
        {
            self.held -= spare.capacity();
        }
        let wanted = wanted.min(capacity + self.memory.saturating_sub(self.held));
        if wanted < needed {
            return false;
        }
        buffer.reserve_exact(wanted - buffer.len());
        self.held = self.held - capacity + buffer.capacity();
        true
    }

    /// Keeps a buffer for later spans, or frees it. It counts as held.
    fn keep(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_MAX && buffer.capacity() > 0 {
            buffer.clear();
            self.spare.push(buffer);
        } else {
            self.held -= buffer.capacity();
        }
    }

    pub(crate) fn hurry(&mut self, interval: Duration) {
        self.interval = self.interval.min(interval);
    }

    pub(crate) fn close(&mut self) {
        if let Stage::Open = self.stage {
            self.stage = Stage::Closing;
        }
    }

    pub(crate) fn take(&mut self, now: Instant) -> Next {
        let Some(first) = self.chunks.front() else {
            return if self.is_closed() { Next::End } else { Next::Nothing };
        };
        let at = first.first + self.interval;
        let is_full = first.spans >= SPANS_MAX || self.chunks.len() > 1;
        if !is_full && !self.is_closed() && now < at {
            return Next::At(at);
        }
        let chunk = self.chunks.pop_front().expect("a chunk is there");
        self.under_way = Some(UnderWay { spans: chunk.spans, bytes: chunk.bytes.len() });
        Next::Chunk(chunk)
    }

    /// Ends the chunk that is under way. False if its spans are counted as lost already.
    pub(crate) fn finish(&mut self, buffer: Vec<u8>, capacity: usize) -> bool {
        let Some(UnderWay { spans, bytes }) = self.under_way.take() else { return false };
        self.spans -= spans;
        self.bytes -= bytes;
        self.held = self.held - capacity + buffer.capacity();
        self.keep(buffer);
        true
    }

    pub(crate) fn settle(&mut self) -> Settled {
        if let Stage::Settled { lost } = self.stage {
            return Settled { lost, is_first: false };
        }
        let lost = self.spans;
        self.stage = Stage::Settled { lost };
        self.under_way = None;
        (self.chunks, self.spare) = (VecDeque::new(), Vec::new());
        (self.spans, self.bytes, self.held) = (0, 0, 0);
        Settled { lost, is_first: true }
    }

    /// Number of the spans that were lost at the end, once that has come.
    pub(crate) fn lost(&self) -> Option<u64> {
        match self.stage {
            Stage::Open | Stage::Closing => None,
            Stage::Settled { lost } => Some(lost),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self.stage {
            Stage::Open => false,
            Stage::Closing | Stage::Settled { .. } => true,
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn count(&self) -> (u64, usize) {
        (self.spans, self.bytes)
    }
}

/// Bytes of a number as a varint.
fn varint_length(number: usize) -> usize {
    (usize::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests;
