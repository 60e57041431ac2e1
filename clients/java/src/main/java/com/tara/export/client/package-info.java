/**
 * The client of tara-export, which turns completed document reviews into audit bundles. Begin with
 * {@link com.tara.export.client.TaraExportClient}.
 */
package com.tara.export.client;
