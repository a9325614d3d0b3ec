/** The inside of Transom for Java, shared by host and worker: not for applications, and free to change. */
package io.transom.internal;
