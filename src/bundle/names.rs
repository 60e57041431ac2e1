//! Names of folders and documents that are safe as S3 keys and as paths on disk alike.
