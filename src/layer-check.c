/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Layer Check
 *
 * Linked with the whole of one layer and only the layers below it: an upward call does not link.
 */

int main(void) {
    return 0;
}
