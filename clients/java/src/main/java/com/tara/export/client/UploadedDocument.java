package com.tara.export.client;

/**
 * An uploaded document.
 *
 * @param name uploads/{upload_id}, for use in a request's document
 * @param sizeBytes its size in bytes
 * @param sha256 its SHA-256, 64 lower-case hexadecimal digits
 */
public record UploadedDocument(String name, long sizeBytes, String sha256) {}
