/* A library that has nothing to do with Transom. */
int nothing(void);

int nothing(void) {
    return 0;
}
