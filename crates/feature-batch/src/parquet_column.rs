//! One column of doubles as a column chunk of Parquet: a page of values, or a dictionary and a page of places in it.
//!
//! The parquet crate's writer is general: it levels, interns and counts value by value, which was more than half of the
//! transform's time. Here a chunk is one page of values that all lie ready. Headers, metadata and the file are the crate's.
//! Format: github.com/apache/parquet-format, Encodings.md (PLAIN, RLE / bit-packing hybrid, dictionary).

use std::io::Write as _;

use bytes::Bytes;
use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    column::{
        page::{CompressedPage, Page, PageWriter as _},
        writer::ColumnCloseResult,
    },
    errors::ParquetError,
    file::{
        metadata::ColumnChunkMetaData,
        statistics::{Statistics, ValueStatistics},
        writer::{SerializedPageWriter, TrackedWrite},
    },
    schema::types::ColumnDescPtr,
};
use zstd::bulk::Compressor;

/// Column chunks, encoded and compressed, end to end.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    pub(crate) bytes: Vec<u8>,
    /// Each chunk's own account; its offsets are from its own beginning.
    pub(crate) closes: Vec<ColumnCloseResult>,
}

impl Chunks {
    /// Drops the chunks, keeps the buffer.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.closes.clear();
    }
}

/// A level that is fast: what is left to gain on doubles is little.
pub(crate) const ZSTD_LEVEL: i32 = 1;
/// A dictionary with more values is no gain over the values.
const MAX_DISTINCT: usize = 1 << 15;

/// Encodes columns; its buffers are reused.
pub(crate) struct ColumnEncoder {
    compressor: Compressor<'static>,
    page: Vec<u8>,
    compressed: Vec<u8>,
    interner: Interner,
}

impl ColumnEncoder {
    pub(crate) fn new() -> Result<Self, ParquetError> {
        Ok(Self {
            compressor: Compressor::new(ZSTD_LEVEL)?,
            page: Vec::new(),
            compressed: Vec::new(),
            interner: Interner::default(),
        })
    }

    /// Appends the chunk of a column's values; NaN is NULL where the column is optional.
    pub(crate) fn encode(
        &mut self,
        column: &ColumnDescPtr,
        values: &[f64],
        chunks: &mut Chunks,
    ) -> Result<(), ParquetError> {
        let rows = values.len();
        let nulls = if column.max_def_level() > 0 { count_nan(values) } else { 0 };
        let without_nulls: Vec<f64>;
        let present = if nulls == 0 {
            values
        } else {
            without_nulls = values.iter().copied().filter(|value| !value.is_nan()).collect();
            &without_nulls
        };
        let mut sink = TrackedWrite::new(&mut chunks.bytes);
        let mut pages = SerializedPageWriter::new(&mut sink);
        let (mut raw_bytes, mut bytes) = (0, 0);

        let has_dictionary = repeats(present) && self.interner.intern(present);
        let dictionary_bytes = if has_dictionary {
            self.page.clear();
            plain(&self.interner.distinct, &mut self.page);
            let page = |buf| Page::DictionaryPage {
                buf,
                num_values: self.interner.distinct.len() as u32,
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            let raw = self.page.len();
            let buf = compress(&mut self.compressor, &self.page, &mut self.compressed)?;
            let written = pages.write_page(CompressedPage::new(page(buf), raw))?;
            raw_bytes += written.uncompressed_size as u64;
            bytes += written.bytes_written;
            Some(written.bytes_written)
        } else {
            None
        };

        self.page.clear();
        if column.max_def_level() > 0 {
            definition_levels(values, nulls, &mut self.page);
        }
        let encoding = if has_dictionary {
            self.interner.write_places(&mut self.page);
            Encoding::RLE_DICTIONARY
        } else {
            plain(present, &mut self.page);
            Encoding::PLAIN
        };
        let raw = self.page.len();
        let buf = compress(&mut self.compressor, &self.page, &mut self.compressed)?;
        let page = Page::DataPage {
            buf,
            num_values: rows as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let written = pages.write_page(CompressedPage::new(page, raw))?;
        raw_bytes += written.uncompressed_size as u64;
        bytes += written.bytes_written;

        let mut encodings = vec![Encoding::RLE, Encoding::PLAIN];
        if has_dictionary {
            encodings.push(Encoding::RLE_DICTIONARY);
        }
        let range = range(present);
        let statistics = ValueStatistics::new(
            range.map(|range| range.0),
            range.map(|range| range.1),
            None,
            Some(nulls as u64),
            false,
        );
        let metadata = ColumnChunkMetaData::builder(column.clone())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
            .set_encodings(encodings)
            .set_num_values(rows as i64)
            .set_total_compressed_size(bytes as i64)
            .set_total_uncompressed_size(raw_bytes as i64)
            .set_dictionary_page_offset(dictionary_bytes.map(|_| 0))
            .set_data_page_offset(dictionary_bytes.unwrap_or(0) as i64)
            .set_statistics(Statistics::Double(statistics))
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: bytes,
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        sink.flush()?;
        drop(sink);
        chunks.closes.push(close);
        Ok(())
    }
}

fn compress(compressor: &mut Compressor<'_>, page: &[u8], buffer: &mut Vec<u8>) -> Result<Bytes, ParquetError> {
    let bound = zstd::zstd_safe::compress_bound(page.len());
    if buffer.len() < bound {
        buffer.resize(bound, 0);
    }
    let length = compressor.compress_to_buffer(page, buffer.as_mut_slice())?;
    Ok(Bytes::copy_from_slice(&buffer[..length]))
}

fn count_nan(values: &[f64]) -> usize {
    // In lanes, so that it is done by vectors.
    values.chunks(4_096).map(|run| run.iter().map(|value| u64::from(value.is_nan())).sum::<u64>()).sum::<u64>() as usize
}

/// Least and greatest; `None` where there is nothing. A zero is told as the format wants it: -0 below, +0 above.
fn range(values: &[f64]) -> Option<(f64, f64)> {
    const LANES: usize = 8;
    let first = *values.first()?;
    let (mut low, mut high) = ([first; LANES], [first; LANES]);
    let runs = values.chunks_exact(LANES);
    let rest = runs.remainder();
    for run in runs {
        for lane in 0..LANES {
            low[lane] = if run[lane] < low[lane] { run[lane] } else { low[lane] };
            high[lane] = if run[lane] > high[lane] { run[lane] } else { high[lane] };
        }
    }
    let low = low.iter().chain(rest).copied().fold(first, f64::min);
    let high = high.iter().chain(rest).copied().fold(first, f64::max);
    Some((if low == 0.0 { -0.0 } else { low }, if high == 0.0 { 0.0 } else { high }))
}

/// PLAIN: eight bytes each, little-endian.
fn plain(values: &[f64], page: &mut Vec<u8>) {
    let start = page.len();
    page.resize(start + 8 * values.len(), 0);
    for (bytes, value) in page[start..].as_chunks_mut().0.iter_mut().zip(values) {
        *bytes = value.to_le_bytes();
    }
}

/// 1 where there is a value, 0 where NULL: their length in four bytes, then one run.
fn definition_levels(values: &[f64], nulls: usize, page: &mut Vec<u8>) {
    let start = page.len();
    page.extend([0; 4]);
    if nulls == 0 {
        repeated(values.len(), 1, page);
    } else {
        let is_present = values.iter().map(|value| u32::from(!value.is_nan()));
        bit_packed(values.len(), 1, is_present, page);
    }
    let length = (page.len() - start - 4) as u32;
    page[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// A run of one value of at most eight bits.
fn repeated(count: usize, value: u8, page: &mut Vec<u8>) {
    varint(count << 1, page);
    page.push(value);
}

/// A run of values of `width` bits, in groups of eight, the last filled with zeros.
fn bit_packed(count: usize, width: u32, values: impl Iterator<Item = u32>, page: &mut Vec<u8>) {
    let groups = count.div_ceil(8);
    varint(groups << 1 | 1, page);
    let end = page.len() + groups * width as usize;
    page.reserve(groups * width as usize + 8);
    let (mut bits, mut filled) = (0_u64, 0);
    for value in values {
        bits |= u64::from(value) << filled;
        filled += width;
        if filled >= 32 {
            page.extend((bits as u32).to_le_bytes());
            bits >>= 32;
            filled -= 32;
        }
    }
    page.extend(bits.to_le_bytes());
    page.resize(end, 0);
}

/// The same of one bit each, eight at a time.
fn flags(values: &[u32], page: &mut Vec<u8>) {
    varint(values.len().div_ceil(8) << 1 | 1, page);
    let (groups, rest) = values.as_chunks::<8>();
    let byte = |bits: &[u32]| bits.iter().zip(0..).fold(0, |byte, (bit, place)| byte | bit << place) as u8;
    page.extend(groups.iter().map(|group| byte(group)));
    if !rest.is_empty() {
        page.push(byte(rest));
    }
}

fn varint(mut value: usize, page: &mut Vec<u8>) {
    while value >= 0x80 {
        page.push(value as u8 | 0x80);
        value >>= 7;
    }
    page.push(value as u8);
}

/// Whether a dictionary of a column's values would pay: by a sample, so that it depends on the values alone.
fn repeats(values: &[f64]) -> bool {
    const SAMPLE: usize = 1_024;
    let mut sample: Vec<u64> =
        values.iter().step_by((values.len() / SAMPLE).max(1)).map(|value| value.to_bits()).collect();
    let all = sample.len();
    sample.sort_unstable();
    sample.dedup();
    all > 0 && sample.len() * 2 <= all
}

/// The different values of a column, in the order of their first appearance, and where each row's is among them.
#[derive(Default)]
struct Interner {
    distinct: Vec<f64>,
    places: Vec<u32>,
    /// Open addressing: place + 1 of the value whose hash leads here, 0 where there is none. A power of two long.
    slots: Vec<u32>,
}

impl Interner {
    const FEWEST_SLOTS: usize = 256;

    /// Whether there are few enough different values.
    fn intern(&mut self, values: &[f64]) -> bool {
        self.distinct.clear();
        self.places.clear();
        if self.intern_two(values) {
            return true;
        }
        self.slots.clear();
        self.slots.resize(Self::FEWEST_SLOTS, 0);
        self.places.reserve(values.len());
        let (mut last_bits, mut last_place) = (0, None);
        for value in values {
            let bits = value.to_bits();
            let place = match last_place {
                Some(place) if bits == last_bits => place,
                _ => self.place_of(bits),
            };
            if self.distinct.len() > MAX_DISTINCT {
                return false;
            }
            (last_bits, last_place) = (bits, Some(place));
            self.places.push(place);
        }
        true
    }

    /// Flags, by vectors: whether there are at most two values.
    fn intern_two(&mut self, values: &[f64]) -> bool {
        let Some(first) = values.first().map(|value| value.to_bits()) else { return false };
        let second = values.iter().map(|value| value.to_bits()).find(|&bits| bits != first);
        let other = second.unwrap_or(first);
        let others = |run: &[f64]| {
            let is_other = |value: &f64| u64::from(value.to_bits() != first && value.to_bits() != other);
            run.iter().map(is_other).fold(0, |any, is_other| any | is_other)
        };
        if values.chunks(1_024).any(|run| others(run) != 0) {
            return false;
        }
        self.distinct.push(f64::from_bits(first));
        self.distinct.extend(second.map(f64::from_bits));
        self.places.extend(values.iter().map(|value| u32::from(value.to_bits() != first)));
        true
    }

    #[inline]
    fn place_of(&mut self, bits: u64) -> u32 {
        let mut slot = Self::hash(bits, self.slots.len());
        loop {
            match self.slots[slot] {
                0 => break,
                place if self.distinct[place as usize - 1].to_bits() == bits => return place - 1,
                _ => slot = (slot + 1) & (self.slots.len() - 1),
            }
        }
        self.distinct.push(f64::from_bits(bits));
        self.slots[slot] = self.distinct.len() as u32;
        let place = self.distinct.len() as u32 - 1;
        if self.distinct.len() * 2 > self.slots.len() {
            self.grow();
        }
        place
    }

    #[cold]
    fn grow(&mut self) {
        let length = self.slots.len() * 4;
        self.slots.clear();
        self.slots.resize(length, 0);
        for (value, place) in self.distinct.iter().zip(1..) {
            let mut slot = Self::hash(value.to_bits(), length);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (length - 1);
            }
            self.slots[slot] = place;
        }
    }

    /// Fibonacci hashing.
    fn hash(bits: u64, slots: usize) -> usize {
        (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - slots.trailing_zeros())) as usize
    }

    /// Bits of a place, then the places.
    fn write_places(&self, page: &mut Vec<u8>) {
        let width = (usize::BITS - (self.distinct.len() - 1).leading_zeros()).max(1);
        page.push(width as u8);
        if self.distinct.len() == 1 {
            repeated(self.places.len(), 0, page);
        } else if width == 1 {
            flags(&self.places, page);
        } else {
            bit_packed(self.places.len(), width, self.places.iter().copied(), page);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Array as _, cast::AsArray as _, types::Float64Type};
    use parquet::{
        arrow::arrow_reader::ParquetRecordBatchReaderBuilder, file::reader::FileReader as _,
        file::serialized_reader::SerializedFileReader,
    };
    use proptest::prelude::*;

    use super::{Chunks, ColumnEncoder};
    use crate::parquet_view::{append, create};

    /// The columns as the parquet crate reads them; NULL is NaN.
    fn read_back(columns: &[Vec<f64>]) -> (Vec<Vec<u64>>, SerializedFileReader<bytes::Bytes>) {
        let names: Vec<String> = (0..columns.len()).map(|column| format!("c{column}")).collect();
        let (mut file, encoder) = create(Vec::new(), &names, "hash").unwrap();
        let mut chunks = Chunks::default();
        encoder.encode(columns, &mut ColumnEncoder::new().unwrap(), &mut chunks).unwrap();
        append(&mut file, &mut chunks).unwrap();
        file.finish().unwrap();
        let bytes = bytes::Bytes::from(std::mem::take(file.inner_mut()));
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap().with_batch_size(1 << 20).build().unwrap();
        let batch = reader.map(Result::unwrap).next().unwrap();
        let column = |column: &Arc<dyn arrow_array::Array>| {
            let values = column.as_primitive::<Float64Type>();
            let bits = |row| if values.is_null(row) { f64::NAN.to_bits() } else { values.value(row).to_bits() };
            (0..values.len()).map(bits).collect()
        };
        (batch.columns().iter().map(column).collect(), SerializedFileReader::new(bytes).unwrap())
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            Just(f64::NAN),
            (0..5).prop_map(f64::from),
            Just(-0.0),
            -1e9..1e9f64,
            prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn columns_are_read_back_bit_by_bit(
            rows in prop::collection::vec((value(), value(), 0u8..3, 0u16..3_000), 1..2_000), offset in -2i32..2,
        ) {
            let columns: Vec<Vec<f64>> = vec![
                // The label, which is never NULL.
                rows.iter().map(|row| if row.0.is_nan() { 0.5 } else { row.0 }).collect(),
                rows.iter().map(|row| row.1).collect(),
                rows.iter().map(|row| f64::from(row.2)).collect(),
                rows.iter().map(|row| if row.2 == 1 { f64::NAN } else { f64::from(row.3) }).collect(),
                rows.iter().map(|_| f64::from(offset)).collect(),
                rows.iter().map(|_| f64::NAN).collect(),
            ];
            let bits: Vec<Vec<u64>> =
                columns.iter().map(|column| column.iter().map(|value| value.to_bits()).collect()).collect();
            let (found, file) = read_back(&columns);
            prop_assert_eq!(found, bits);
            for (place, column) in columns.iter().enumerate() {
                let present = || column.iter().copied().filter(|value| !value.is_nan());
                let statistics = file.metadata().row_group(0).column(place).statistics().unwrap().clone();
                prop_assert_eq!(statistics.null_count_opt(), Some((column.len() - present().count()) as u64));
                let parquet::file::statistics::Statistics::Double(range) = statistics else { panic!() };
                prop_assert_eq!(range.min_opt().copied(), present().reduce(f64::min));
                prop_assert_eq!(range.max_opt().copied(), present().reduce(f64::max));
            }
        }
    }

    /// A dictionary that is too large is given up in the middle.
    #[test]
    fn many_values_that_look_few() {
        let count = 120_000_u32;
        // Every row that the sample looks at is the same.
        let step = count / 1_024;
        let values: Vec<f64> = (0..count).map(|row| if row % step == 0 { 1.0 } else { f64::from(row) }).collect();
        let columns = vec![values.clone(), values];
        let bits: Vec<Vec<u64>> =
            columns.iter().map(|column| column.iter().map(|value| value.to_bits()).collect()).collect();
        assert_eq!(read_back(&columns).0, bits);
    }
}
