package com.tara.export.client;

/**
 * A document that is at the server.
 *
 * @param name uploads/{upload_id}, for a request's document
 * @param sizeBytes its size in bytes
 * @param sha256 its SHA-256, 64 lower-case hexadecimal digits
 */
public record UploadedDocument(String name, long sizeBytes, String sha256) {}
