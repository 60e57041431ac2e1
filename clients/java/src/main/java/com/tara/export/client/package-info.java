/**
 * The client of tara-export, which exports completed document reviews as audit bundles. Start with
 * {@link com.tara.export.client.TaraExportClient}.
 */
package com.tara.export.client;
