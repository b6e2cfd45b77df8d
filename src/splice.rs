//! Parquet files put together without reading a value: column chunks are copied as they are encoded,
//! and a new footer names them.

use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use crate::error::{Error, Result};

/// Bytes handed to the system at once.
const BUFFER: usize = 1 << 20;

/// Writes one Parquet file from the row groups of others.
pub struct Splicer {
    writer: SerializedFileWriter<BufWriter<File>>,
    schema: ParquetMetaData,
    target: PathBuf,
}

impl Splicer {
    /// Begins a file; it is there already and empty. Schema and keys are those of `like`, a Parquet
    /// file that may have no rows.
    pub fn new(target: &Path, like: &Path) -> Result<Self> {
        let schema = metadata(&open(like)?, like)?;
        let file = OpenOptions::new()
            .write(true)
            .open(target)
            .map_err(|e| failed(target, &e))?;
        let of_file = schema.file_metadata();
        let properties = WriterProperties::builder()
            .set_key_value_metadata(of_file.key_value_metadata().cloned())
            .build();
        let root = of_file.schema_descr().root_schema_ptr();
        let file = BufWriter::with_capacity(BUFFER, file);
        let writer = SerializedFileWriter::new(file, root, properties.into())
            .map_err(|e| failed(target, &e))?;
        Ok(Self {
            writer,
            schema,
            target: target.into(),
        })
    }

    /// Appends all row groups of a file of the same schema; returns its rows.
    pub fn append(&mut self, path: &Path) -> Result<u64> {
        let file = open(path)?;
        let found = metadata(&file, path)?;
        let own = self.schema.file_metadata().schema();
        if found.file_metadata().schema() != own {
            return Err(failed(path, &"its schema is another"));
        }
        for group in found.row_groups() {
            self.copy(&file, group).map_err(|e| failed(path, &e))?;
        }
        Ok(found.file_metadata().num_rows().max(0) as u64)
    }

    fn copy(
        &mut self,
        file: &File,
        group: &parquet::file::metadata::RowGroupMetaData,
    ) -> parquet::errors::Result<()> {
        let mut out = self.writer.next_row_group()?;
        for column in group.columns() {
            let close = ColumnCloseResult {
                bytes_written: column.compressed_size().max(0) as u64,
                rows_written: group.num_rows().max(0) as u64,
                metadata: column.clone(),
                bloom_filter: None,
                column_index: None,
                offset_index: None,
            };
            out.append_column(file, close)?;
        }
        out.close()?;
        Ok(())
    }

    /// Writes the footer.
    pub fn close(self) -> Result<()> {
        let written = self.writer.close();
        written.map(drop).map_err(|e| failed(&self.target, &e))
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| failed(path, &e))
}

fn metadata(file: &File, path: &Path) -> Result<ParquetMetaData> {
    ParquetMetaDataReader::new()
        .parse_and_finish(file)
        .map_err(|e| failed(path, &e))
}

fn failed(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::File {
        path: path.display().to_string(),
        why: why.to_string(),
    }
}
