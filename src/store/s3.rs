//! Objects in an S3 bucket, below a base path.
