//! How an answer is written.

use crate::query::Answered;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv::WriterBuilder;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::json::ArrayWriter;
use datafusion::arrow::util::pretty::pretty_format_batches_with_schema;
use datafusion::parquet::arrow::ArrowWriter;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

/// A form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// With a header.
    Csv,
    /// An array of objects.
    Json,
    /// A Parquet file.
    Parquet,
}

/// Writes an answer into a new file, or to standard output.
pub fn write(answered: &Answered, format: Format, out: Option<&Path>) -> Result<()> {
    let bytes = bytes(&answered.batches, Arc::clone(&answered.schema), format)?;
    let Some(path) = out else {
        if format == Format::Parquet && io::stdout().is_terminal() {
            bail!("Parquet is not for a terminal; name a file: --out FILE");
        }
        return io::stdout().write_all(&bytes).context("could not write the answer");
    };
    let written = OpenOptions::new().write(true).create_new(true).open(path);
    written.and_then(|mut file| file.write_all(&bytes)).with_context(|| {
        format!("could not write the answer into the new file `{}`", path.display())
    })
}

/// The bytes of an answer, which is bounded.
fn bytes(batches: &[RecordBatch], schema: SchemaRef, format: Format) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match format {
        Format::Table => {
            writeln!(bytes, "{}", pretty_format_batches_with_schema(schema, batches)?)?;
        }
        Format::Csv => {
            let mut writer = WriterBuilder::new().with_header(true).build(&mut bytes);
            writer.write(&RecordBatch::new_empty(schema))?;
            batches.iter().try_for_each(|batch| writer.write(batch))?;
        }
        Format::Json => {
            let mut writer = ArrayWriter::new(&mut bytes);
            writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
            writer.finish()?;
            bytes.push(b'\n');
        }
        Format::Parquet => {
            let mut writer = ArrowWriter::try_new(&mut bytes, schema, None)?;
            batches.iter().try_for_each(|batch| writer.write(batch))?;
            writer.close()?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Int64Array, StringArray};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReader;

    fn answer() -> (Vec<RecordBatch>, SchemaRef) {
        let code = Field::new("code", DataType::Utf8, true);
        let schema = Arc::new(Schema::new(vec![code, Field::new("n", DataType::Int64, true)]));
        let codes = Arc::new(StringArray::from(vec![Some("a,b"), None]));
        let counts = Arc::new(Int64Array::from(vec![12, 30]));
        let batch = RecordBatch::try_new(Arc::clone(&schema) as _, vec![codes, counts]).unwrap();
        (vec![batch], schema)
    }

    #[test]
    fn every_form_says_the_same() {
        let (batches, schema) = answer();
        let text = |format| {
            String::from_utf8(bytes(&batches, Arc::clone(&schema), format).unwrap()).unwrap()
        };
        assert_eq!(text(Format::Csv), "code,n\n\"a,b\",12\n,30\n");
        assert_eq!(text(Format::Json), "[{\"code\":\"a,b\",\"n\":12},{\"n\":30}]\n");
        assert!(text(Format::Table).contains("| a,b  | 12 |"));
        let parquet = bytes(&batches, Arc::clone(&schema), Format::Parquet).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&parquet).unwrap();
        let mut read = ParquetRecordBatchReader::try_new(file, 10).unwrap();
        assert_eq!(read.next().unwrap().unwrap(), batches[0]);
    }

    #[test]
    fn an_answer_without_rows_has_its_columns() {
        let (_, schema) = answer();
        let text =
            |format| String::from_utf8(bytes(&[], Arc::clone(&schema), format).unwrap()).unwrap();
        assert_eq!(text(Format::Csv), "code,n\n");
        assert_eq!(text(Format::Json), "[]\n");
        assert!(text(Format::Table).contains("code"));
    }

    #[test]
    fn no_file_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answer");
        let (batches, schema) = answer();
        let answered = Answered { schema, batches, suppressed: 0, k: 10 };
        write(&answered, Format::Csv, Some(&path)).unwrap();
        assert!(write(&answered, Format::Json, Some(&path)).is_err());
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("code,n"));
    }
}
